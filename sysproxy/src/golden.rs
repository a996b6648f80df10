//! Recorded sessions, for the golden tests of both ends.

use crate::frame::{Class, Frame, Header, Kind};
use crate::message::SyscallResult;
use zerocopy::{FromBytes, IntoBytes};

/// The session of the original client with the original server.
pub const RECORDED: &str = include_str!("../tests/data/recorded.txt");

/// The worked examples of the protocol.
pub const WORKED: &str = include_str!("../tests/data/worked.txt");

/// A line of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// What the program does next.
    Step(String),
    /// The server's line on a connection, its newline left out.
    Banner(u32, String),
    /// The process of a connection was replaced.
    Exec(u32),
    /// A frame from the client.
    FromClient(u32, Frame),
    /// A frame from the server.
    FromServer(u32, Frame),
}

/// Reads a recording; the error is the line that makes no sense.
pub fn parse(text: &str) -> Result<Vec<Item>, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| item(line).ok_or_else(|| line.to_owned())).collect()
}

fn item(line: &str) -> Option<Item> {
    if let Some(title) = line.strip_prefix("= ") {
        return Some(Item::Step(title.to_owned()));
    }
    let (conn, rest) = line.split_once(' ')?;
    let conn = conn.parse().ok()?;
    let (what, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    match what {
        "banner" => Some(Item::Banner(conn, rest.to_owned())),
        "exec" => Some(Item::Exec(conn)),
        ">" => Some(Item::FromClient(conn, frame(rest)?)),
        "<" => Some(Item::FromServer(conn, frame(rest)?)),
        _ => None,
    }
}

fn frame(text: &str) -> Option<Frame> {
    let mut words = text.split(' ');
    let header = Header::read_from_bytes(&bytes(words.next()?)?).ok()?;
    let mut body = Vec::new();
    for word in words {
        match word.strip_prefix('+') {
            Some(zeros) => body.resize(body.len() + zeros.parse::<usize>().ok()?, 0),
            None => body.extend(bytes(word)?),
        }
    }
    (header.body_len() == Some(body.len())).then_some(Frame { header, body })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// Clears what the protocol leaves undefined: the padding of a system call's answer, its registers
/// after an error, the number of a RAISE.
pub fn normalize(frame: &mut Frame) {
    match (frame.header.class(), frame.header.kind()) {
        (Some(Class::Resp), Some(Kind::Syscall)) => {
            if let Some(mut result) = SyscallResult::decode(&frame.body) {
                result.padding = 0;
                if result.error != 0 {
                    result.retval = [0; 2];
                }
                frame.body = result.as_bytes().to_vec();
            }
        }
        (Some(Class::Req), Some(Kind::Raise)) => frame.header.reqno = 0,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ClientRequest, ServerRequest};

    #[test]
    fn every_recorded_frame_is_understood_and_encoded_as_it_was() {
        for item in [RECORDED, WORKED].iter().flat_map(|text| parse(text).unwrap()) {
            match item {
                Item::FromClient(_, frame) if frame.header.class() == Some(Class::Req) => {
                    let request = ClientRequest::decode(&frame.header, &frame.body).unwrap();
                    assert_eq!(request.encode(frame.header.reqno), frame);
                }
                Item::FromServer(_, frame) if frame.header.class() == Some(Class::Req) => {
                    let request = ServerRequest::decode(&frame.header, &frame.body).unwrap();
                    assert_eq!(request.encode(frame.header.reqno), frame);
                }
                Item::FromServer(_, mut frame) if frame.header.kind() == Some(Kind::Syscall) => {
                    normalize(&mut frame);
                    let result = SyscallResult::decode(&frame.body).unwrap();
                    assert_eq!(result.encode(frame.header.reqno), frame);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn the_recordings_are_whole() {
        let frames = |text| {
            let items = parse(text).unwrap();
            items.iter().filter(|item| matches!(item, Item::FromClient(..) | Item::FromServer(..))).count()
        };
        assert_eq!((frames(RECORDED), frames(WORKED)), (210, 20));
    }
}
