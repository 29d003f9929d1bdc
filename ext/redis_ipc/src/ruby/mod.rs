//! What all features of the border share: waiting without the GVL, errors, values that are bound to one process, and
//! the parts of the core that they show to Ruby in the same way.

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
