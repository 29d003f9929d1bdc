//! The access to PostgreSQL: options, messages, login, and a replication connection.

pub mod connection;
pub mod failure;
mod frames;
pub mod json_value;
mod login;
mod password_file;
pub mod pgoutput;
pub mod settings;
mod settings_url;
pub mod visibility;
