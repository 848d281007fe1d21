//! What an object is: facts, decode, patches, selectors, tables.
