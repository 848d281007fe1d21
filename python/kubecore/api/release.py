"""Which release this is. The wheel's number comes from Cargo.toml; a test keeps the two the same."""

VERSION = "0.1.0"
