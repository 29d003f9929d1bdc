//! Ruby as the border needs it: waiting without the GVL, errors, what belongs to one process, and what both features
//! show of the core in the same way.

pub mod classes;
pub mod entry;
pub mod errors;
pub mod gc_pressure;
pub mod gvl;
pub mod helpers;
pub mod logins;
pub mod memo;
pub mod process_bound;
pub mod reports;
