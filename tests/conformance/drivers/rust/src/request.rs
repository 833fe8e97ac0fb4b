//! The lines, and what stands in them: bytes are hexadecimal digits.

use noisegate::{Code, pb};
use serde_json::Value;

/// A request; what it does not have is empty, zero or false.
pub struct Request(pub Value);

impl Request {
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub fn number(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap_or_default()
    }

    pub fn has(&self, field: &str) -> bool {
        self.0[field].as_bool().unwrap_or_default()
    }

    pub fn bytes(&self, field: &str) -> Vec<u8> {
        let digits = self.text(field).as_bytes();
        digits.chunks(2).map(|pair| value_of(pair[0]) << 4 | value_of(pair[1])).collect()
    }

    /// The objects of a list.
    pub fn items(&self, field: &str) -> Vec<Request> {
        self.0[field].as_array().map_or(Vec::new(), |items| items.iter().cloned().map(Request).collect())
    }

    pub fn mode(&self) -> pb::RecordMode {
        pb::RecordMode::from_str_name(&format!("RECORD_MODE_{}", self.text("mode"))).unwrap_or_default()
    }

    /// None where the hello says it.
    pub fn protocol(&self) -> Option<pb::Protocol> {
        let pattern = pb::Pattern::from_str_name(&format!("PATTERN_{}", self.text("pattern")))?;
        let suite = pb::Suite::from_str_name(&format!("SUITE_{}", self.text("suite"))).unwrap_or_default();
        Some(pb::Protocol { pattern: pattern.into(), suite: suite.into() })
    }
}

fn value_of(digit: u8) -> u8 {
    char::from(digit).to_digit(16).expect("hexadecimal digits") as u8
}

pub fn hexed(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

pub fn hexes(messages: &[Vec<u8>]) -> Vec<String> {
    messages.iter().map(|message| hexed(message)).collect()
}

/// As the contract writes it: DEADLINE_EXCEEDED, not DeadlineExceeded.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
