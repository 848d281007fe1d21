//! Protobuf's wire format: tags, varints, lengths. Every length is checked against what is there.

/// What is wrong with a message, in the words of Go's generated code where it has some.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    #[error("unexpected EOF")]
    End,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: wrong wireType = {found} for field {number}")]
    WrongType { found: u8, number: u32 },
    #[error("proto: illegal wireType {0}")]
    IllegalType(u8),
    #[error("proto: illegal tag 0")]
    ZeroTag,
    #[error("proto: field {0} holds invalid UTF-8")]
    Encoding(u32),
    #[error("proto: field {0} holds invalid JSON")]
    Json(u32),
    #[error("proto: messages are nested too deeply")]
    Depth,
    #[error(transparent)]
    Quantity(crate::quantity::QuantityError),
}

/// A field's number and wire type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag {
    pub number: u32,
    wire_type: u8,
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

type Result<T> = std::result::Result<T, WireError>;

pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field; None at the message's end.
    pub fn tag(&mut self) -> Result<Option<Tag>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.raw_varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::Overflow)?;
        if number == 0 {
            return Err(WireError::ZeroTag);
        }
        Ok(Some(Tag {
            number,
            wire_type: (tag & 7) as u8,
        }))
    }

    fn raw_varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for (place, &byte) in self.rest.iter().enumerate() {
            if place == 10 {
                return Err(WireError::Overflow);
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                self.rest = &self.rest[place + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() > 10 {
            WireError::Overflow
        } else {
            WireError::End
        })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| WireError::End)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::End)?;
        self.rest = rest;
        Ok(taken)
    }

    fn expect(tag: Tag, wire_type: u8) -> Result<()> {
        match tag.wire_type == wire_type {
            true => Ok(()),
            false => Err(WireError::WrongType {
                found: tag.wire_type,
                number: tag.number,
            }),
        }
    }

    /// A number; negative ones are ten bytes long.
    pub fn varint(&mut self, tag: Tag) -> Result<i64> {
        Self::expect(tag, VARINT)?;
        Ok(self.raw_varint()? as i64)
    }

    pub fn float(&mut self, tag: Tag) -> Result<f64> {
        Self::expect(tag, FIXED64)?;
        let bytes = self.take(8)?;
        Ok(f64::from_le_bytes(
            bytes.try_into().map_err(|_| WireError::End)?,
        ))
    }

    pub fn bytes(&mut self, tag: Tag) -> Result<&'a [u8]> {
        Self::expect(tag, LENGTH)?;
        let length = self.raw_varint()?;
        self.take(length)
    }

    pub fn text(&mut self, tag: Tag) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(tag)?).map_err(|_| WireError::Encoding(tag.number))
    }

    /// The numbers of a packed list, or None if this is a single number.
    pub fn packed(&mut self, tag: Tag) -> Result<Option<Vec<i64>>> {
        if tag.wire_type != LENGTH {
            return Ok(None);
        }
        let mut reader = Reader::new(self.bytes(tag)?);
        let mut numbers = Vec::new();
        while !reader.rest.is_empty() {
            numbers.push(reader.raw_varint()? as i64);
        }
        Ok(Some(numbers))
    }

    /// Passes over a field that nobody knows.
    pub fn skip(&mut self, tag: Tag) -> Result<()> {
        match tag.wire_type {
            VARINT => self.raw_varint().map(drop),
            FIXED64 => self.take(8).map(drop),
            LENGTH => self.bytes(tag).map(drop),
            FIXED32 => self.take(4).map(drop),
            other => Err(WireError::IllegalType(other)),
        }
    }
}
