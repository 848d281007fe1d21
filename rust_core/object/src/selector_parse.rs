//! Upstream's label selector syntax: a lexer, and a parser over all its tokens.

use crate::selector::{Operator, Requirement, SelectorError};
use crate::selector_validation::label_key_errors;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

const LITERALS: [(&str, Token); 11] = [
    (")", Token::Close),
    (",", Token::Comma),
    ("!", Token::Not),
    ("==", Token::DoubleEquals),
    ("=", Token::Equals),
    (">", Token::Greater),
    ("in", Token::In),
    ("<", Token::Less),
    ("!=", Token::NotEquals),
    ("notin", Token::NotIn),
    ("(", Token::Open),
];

fn literal(text: &str) -> Option<Token> {
    LITERALS
        .iter()
        .find(|(literal, _)| *literal == text)
        .map(|(_, token)| *token)
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// All tokens, the last one `End`.
fn tokens(selector: &str) -> Vec<(Token, String)> {
    let bytes = selector.as_bytes();
    let mut found = Vec::new();
    let mut position = 0;
    loop {
        while position < bytes.len() && is_space(bytes[position]) {
            position += 1;
        }
        // Upstream's lexer ends at a NUL byte, too.
        if position >= bytes.len() || bytes[position] == 0 {
            found.push((Token::End, String::new()));
            return found;
        }
        let start = position;
        if is_special(bytes[position]) {
            position = special_end(bytes, start);
        } else {
            while position < bytes.len()
                && bytes[position] != 0
                && !is_special(bytes[position])
                && !is_space(bytes[position])
            {
                position += 1;
            }
        }
        // Every special byte alone is a literal, so only words become identifiers.
        let text = &selector[start..position];
        found.push((literal(text).unwrap_or(Token::Identifier), text.to_owned()));
    }
}

/// The longest operator: it grows while what it has is an operator or could become one.
fn special_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start + 1;
    while end < bytes.len() && is_special(bytes[end]) {
        let grown = std::str::from_utf8(&bytes[start..=end]).unwrap_or_default();
        if literal(grown).is_none() {
            break;
        }
        end += 1;
    }
    end
}

struct Parser {
    tokens: Vec<(Token, String)>,
    position: usize,
}

/// Parses a selector into its requirements, in the order written.
pub(crate) fn parse(selector: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser {
        tokens: tokens(selector),
        position: 0,
    };
    let mut requirements = Vec::new();
    loop {
        match parser.peek_value() {
            (Token::Identifier | Token::Not, _) => {
                let requirement = parser.requirement();
                requirements.push(requirement.map_err(|error| {
                    SelectorError(format!("unable to parse requirement: {error}"))
                })?);
                match parser.next_value() {
                    (Token::End, _) => return Ok(requirements),
                    (Token::Comma, _) => {
                        let (token, text) = parser.peek_value();
                        if token != Token::Identifier && token != Token::Not {
                            return found(&text, ", expected: identifier after ','");
                        }
                    }
                    (_, text) => return found(&text, ", expected: ',' or 'end of string'"),
                }
            }
            (Token::End, _) => return Ok(requirements),
            (_, text) => return found(&text, ", expected: !, identifier, or 'end of string'"),
        }
    }
}

fn found<T>(text: &str, expected: &str) -> Result<T, SelectorError> {
    Err(SelectorError(format!("found '{text}'{expected}")))
}

impl Parser {
    fn at(&self, position: usize) -> (Token, String) {
        // The last token is End; upstream never reads beyond it either.
        self.tokens[position.min(self.tokens.len() - 1)].clone()
    }

    /// The next token where `in` and `notin` are plain words.
    fn peek_value(&self) -> (Token, String) {
        let (token, text) = self.at(self.position);
        let token = if matches!(token, Token::In | Token::NotIn) {
            Token::Identifier
        } else {
            token
        };
        (token, text)
    }

    fn next_value(&mut self) -> (Token, String) {
        let next = self.peek_value();
        self.position += 1;
        next
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let (mut token, mut key) = self.next_value();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next_value();
        }
        if token != Token::Identifier {
            return found(&key, ", expected: identifier");
        }
        let errors = label_key_errors(&key);
        if !errors.is_empty() {
            return Err(SelectorError(format!(
                "<nil>: Invalid value: {key:?}: {}",
                errors.join("; ")
            )));
        }
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.value_list()?,
            _ => vec![self.exact_value()?],
        };
        values.sort();
        values.dedup();
        Requirement::new(&key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        let (token, text) = self.at(self.position);
        self.position += 1;
        match token {
            Token::In => Ok(Operator::In),
            Token::Equals => Ok(Operator::Equals),
            Token::DoubleEquals => Ok(Operator::DoubleEquals),
            Token::Greater => Ok(Operator::GreaterThan),
            Token::Less => Ok(Operator::LessThan),
            Token::NotIn => Ok(Operator::NotIn),
            Token::NotEquals => Ok(Operator::NotEquals),
            _ => found(&text, ", expected: in, notin, =, ==, !=, gt, lt"),
        }
    }

    fn value_list(&mut self) -> Result<Vec<String>, SelectorError> {
        let (token, text) = self.next_value();
        if token != Token::Open {
            return found(&text, " expected: '('");
        }
        let (token, text) = self.peek_value();
        match token {
            Token::Identifier | Token::Comma => {
                let values = self.identifiers()?;
                match self.next_value().0 {
                    Token::Close => Ok(values),
                    _ => found(&text, ", expected: ')'"),
                }
            }
            Token::Close => {
                self.position += 1;
                Ok(vec![String::new()])
            }
            _ => found(&text, ", expected: ',', ')' or identifier"),
        }
    }

    /// Values between commas; nothing between two commas is the empty value.
    fn identifiers(&mut self) -> Result<Vec<String>, SelectorError> {
        let mut values = Vec::new();
        loop {
            let (token, text) = self.next_value();
            let (ahead, ahead_text) = self.peek_value();
            match token {
                Token::Identifier => {
                    values.push(text);
                    match ahead {
                        Token::Comma => {}
                        Token::Close => return Ok(values),
                        _ => return found(&ahead_text, ", expected: ',' or ')'"),
                    }
                }
                Token::Comma => {
                    if values.is_empty() || matches!(ahead, Token::Comma | Token::Close) {
                        values.push(String::new());
                    }
                    if ahead == Token::Close {
                        return Ok(values);
                    }
                }
                _ => return found(&text, ", expected: ',', or identifier"),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next_value() {
            (Token::Identifier, text) => Ok(text),
            (_, text) => found(&text, ", expected: identifier"),
        }
    }
}
