//! The language of the scripts.
//!
//! A line is a time (`+0`, `+1.5`: seconds after the line before) and one of:
//!
//! ```text
//! ethernet | address ADDR       the device is an Ethernet; it gets one more address
//! socket NAME | bind NAME PORT | listen NAME BACKLOG | connect NAME PORT | accept NAME NEW
//! send NAME BYTES | recv NAME BYTES | shutdown NAME rd|wr|rdwr | close NAME | set NAME OPTION VALUE
//!     each may end in `= RESULT`: a number, or an errno's name
//! sendoob NAME BYTES | recvoob NAME | mark NAME | udp NAME PORT | udp6 NAME PORT | sendto NAME PORT BYTES | recvfrom NAME
//! error NAME                 what SO_ERROR says
//! info NAME rtt|repeated|unacked   of TCP_INFO: milliseconds, segments
//! state NAME NUMBER          the state of TCP_INFO (1 established, 5 closed, 11 ...: BSD's numbers)
//! < FLAGS [seq N] [ack N] [len N] [win N] [mss N] [urg N] [port N] [to N]     a segment arrives
//! > FLAGS [seq N] [ack N] [len N] [win N] [mss N] [urg N] [tos N] [from N]    a segment leaves, and none before it
//! < FRAME   > FRAME          another frame arrives, or leaves (as far as the words say)
//! nothing                    none has left
//! # …                        a comment
//! ```
//!
//! Frames are: `arp request ADDR from ADDR`, `arp reply ADDR to ADDR`, `ns ADDR from ADDR`, `na ADDR [unsolicited] [hops N]` (that leaves:
//! `na ADDR to ADDR`), `rs`, `ra PREFIX [valid N]`, `icmp TYPE/CODE [mtu N]` (that arrives: about the last packet that has left; `quote N`
//! bytes of it, `port N` in place of its destination), `echo SEQ len N` and its `reply SEQ len N`, `udp PORT > PORT len N [damaged]`,
//! `frag id N off N len N of N [more]` (a piece of a datagram to port 53; that leaves: `frag off N len N [more]`). `icmp6`, `echo6`, `reply6`,
//! `udp6` and `frag6` are those of IPv6.
//!
//! `FLAGS` are letters of `SAFRPU`, or `-`. Sequence numbers are counted from the SYN of the side that they belong to. A segment that
//! must leave `+1.0` later must not leave earlier.

use std::collections::HashMap;
use std::time::Duration;

use crate::frames;

/// What one line says.
#[derive(Debug)]
pub enum Action {
    /// A call: its words, and what it must return.
    Call(Vec<String>, Option<String>),
    /// A segment arrives.
    Arrives(Segment),
    /// A segment must leave.
    Leaves(Segment),
    /// Another frame arrives.
    FrameArrives(String),
    /// Another frame must leave.
    FrameLeaves(String),
    /// No segment has left.
    Nothing,
}

/// A segment: what is not said is not looked at, or zero.
#[derive(Debug, Default)]
pub struct Segment {
    /// The letters of its flags.
    pub flags: String,
    /// Its fields by name.
    pub fields: HashMap<String, i64>,
}

/// A line.
#[derive(Debug)]
pub struct Line {
    /// Where it stands.
    pub number: usize,
    /// How long after the one before.
    pub after: Duration,
    /// What it says.
    pub action: Action,
}

/// Reads a script; the error says which line makes no sense.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let meaning = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, meaning(line))).filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| parse_line(number, &line).ok_or(format!("line {number} makes no sense: {line}")))
        .collect()
}

fn parse_line(number: usize, line: &str) -> Option<Line> {
    let (time, rest) = line.split_once(char::is_whitespace)?;
    let after = Duration::from_secs_f64(time.strip_prefix('+')?.parse().ok()?);
    let rest = rest.trim();
    let action = match rest.split_once(char::is_whitespace) {
        _ if rest == "nothing" => Action::Nothing,
        Some(("<", frame)) if frames::is_one(frame) => Action::FrameArrives(frame.to_owned()),
        Some((">", frame)) if frames::is_one(frame) || frame.starts_with("reply") => {
            Action::FrameLeaves(frame.to_owned())
        }
        Some(("<", segment)) => Action::Arrives(parse_segment(segment)?),
        Some((">", segment)) => Action::Leaves(parse_segment(segment)?),
        _ => {
            let (call, result) = rest.split_once('=').map_or((rest, None), |(call, result)| (call, Some(result)));
            let words = call.split_whitespace().map(str::to_owned).collect();
            Action::Call(words, result.map(|result| result.trim().to_owned()))
        }
    };
    Some(Line { number, after, action })
}

fn parse_segment(text: &str) -> Option<Segment> {
    let mut words = text.split_whitespace();
    let flags = words.next()?.trim_matches('-').to_owned();
    let mut fields = HashMap::new();
    while let Some(name) = words.next() {
        fields.insert(name.to_owned(), words.next()?.parse().ok()?);
    }
    Some(Segment { flags, fields })
}
