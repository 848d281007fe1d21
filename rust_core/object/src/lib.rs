//! What an object is: facts, decode, patches, selectors, tables.

pub mod field_selector;
mod field_selector_table;
pub mod scan;
pub mod selector;
mod selector_parse;
mod selector_validation;
pub mod facts;
