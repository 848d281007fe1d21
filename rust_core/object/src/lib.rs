//! What an object is: facts, decode, patches, selectors, tables.

pub mod convert;
mod convert_autoscaler;
pub mod facts;
pub mod field_selector;
mod field_selector_table;
pub mod partial;
pub mod scan;
pub mod selector;
mod selector_parse;
mod selector_validation;
pub mod table;
