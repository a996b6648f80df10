//! The language of the scripts.
//!
//! A line is a time (`+0`, `+1.5`: seconds after the line before) and one of:
//!
//! ```text
//! socket NAME | bind NAME PORT | listen NAME BACKLOG | connect NAME PORT | accept NAME NEW
//! send NAME BYTES | recv NAME BYTES | shutdown NAME rd|wr|rdwr | close NAME | set NAME OPTION VALUE
//!     each may end in `= RESULT`: a number, or an errno's name
//! state NAME NUMBER          the state of TCP_INFO (1 established, 5 closed, 11 ...: BSD's numbers)
//! < FLAGS [seq N] [ack N] [len N] [win N] [mss N] [port N] [to N]     a segment arrives
//! > FLAGS [seq N] [ack N] [len N] [win N] [mss N] [from N]            a segment leaves, and none before it
//! nothing                    none has left
//! # …                        a comment
//! ```
//!
//! `FLAGS` are letters of `SAFRPU`, or `-`. Sequence numbers are counted from the SYN of the side that they belong to. A segment that
//! must leave `+1.0` later must not leave earlier.

use std::collections::HashMap;
use std::time::Duration;

/// What one line says.
#[derive(Debug)]
pub enum Action {
    /// A call: its words, and what it must return.
    Call(Vec<String>, Option<String>),
    /// A segment arrives.
    Arrives(Segment),
    /// A segment must leave.
    Leaves(Segment),
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
