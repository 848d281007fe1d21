//! What an object is: facts, decode, patches, selectors, tables.

pub mod convert;
mod convert_autoscaler;
pub mod decode;
pub mod default;
pub mod facts;
pub mod field_selector;
mod field_selector_table;
pub mod openapi;
pub mod partial;
pub mod patch;
pub mod protobuf;
pub mod quantity;
mod reader;
pub mod scan;
pub mod selector;
mod selector_parse;
mod selector_validation;
pub mod table;
pub mod time;
pub mod tree;
pub mod write;
