//! `netstat -s`: what the kernel has counted, in the words of netstat(1).

use abi::sysctl::CTL_NET;
use anyhow::ensure;
use client::Caller;
use serde_json::{Map, Value};

use super::super::said;
use crate::ctl;

/// A line: the places of its numbers in the table with a word for programs each, and its text. In that `%` is a number, `~` its plural.
type Line = (&'static [(usize, &'static str)], &'static str);

/// A protocol: its name, whether it is of IPv4 and of IPv6, its table, the lines, and where messages are counted by their types.
struct Protocol {
    name: &'static str,
    families: [bool; 2],
    table: [i32; 4],
    lines: &'static [Line],
    histograms: Option<Histograms>,
}

/// Where the messages sent and received are counted, and what their types are called.
struct Histograms {
    sent: usize,
    received: usize,
    names: &'static [(usize, &'static str)],
}

const INET: i32 = 2;
const INET6: i32 = 24;
const V4: [bool; 2] = [true, false];
const V6: [bool; 2] = [false, true];

const PROTOCOLS: [Protocol; 7] = [
    Protocol { name: "ip", families: V4, table: [CTL_NET, INET, 0, 24], lines: IP, histograms: None },
    Protocol { name: "icmp", families: V4, table: [CTL_NET, INET, 1, 7], lines: ICMP, histograms: Some(ICMP_TYPES) },
    Protocol { name: "tcp", families: [true; 2], table: [CTL_NET, INET, 6, 30], lines: TCP, histograms: None },
    Protocol { name: "udp", families: V4, table: [CTL_NET, INET, 17, 5], lines: UDP, histograms: None },
    Protocol { name: "ip6", families: V6, table: [CTL_NET, INET6, 41, 6], lines: IP6, histograms: None },
    Protocol {
        name: "icmp6",
        families: V6,
        table: [CTL_NET, INET6, 58, 1],
        lines: ICMP6,
        histograms: Some(ICMP6_TYPES),
    },
    Protocol { name: "udp6", families: V6, table: [CTL_NET, INET6, 17, 5], lines: UDP6, histograms: None },
];

const IP: &[Line] = &[
    (&[(0, "received")], "% total packet~ received"),
    (&[(1, "bad_checksum")], "% bad header checksum~"),
    (&[(3, "too_small")], "% with size smaller than minimum"),
    (&[(2, "too_short")], "% with data size < data length"),
    (&[(4, "bad_header_length")], "% with header length < data size"),
    (&[(5, "bad_length")], "% with data length < header length"),
    (&[(23, "bad_version")], "% with incorrect version number"),
    (&[(6, "fragments_received")], "% fragment~ received"),
    (&[(17, "reassembled")], "% packet~ reassembled ok"),
    (&[(14, "delivered")], "% packet~ for this host"),
    (&[(13, "unknown_protocol")], "% packet~ for unknown/unsupported protocol"),
    (&[(9, "forwarded")], "% packet~ forwarded"),
    (&[(11, "not_forwardable")], "% packet~ not forwardable"),
    (&[(12, "redirects_sent")], "% redirect~ sent"),
    (&[(15, "sent")], "% packet~ sent from this host"),
    (&[(22, "no_route")], "% output packet~ discarded due to no route"),
    (&[(18, "fragmented")], "% output datagram~ fragmented"),
    (&[(19, "fragments_created")], "% fragment~ created"),
    (&[(20, "cannot_fragment")], "% datagram~ that can't be fragmented"),
    (&[(29, "bad_address")], "% datagram~ with bad address in header"),
];

const IP6: &[Line] = &[
    (&[(0, "received")], "% total packet~ received"),
    (&[(2, "too_small")], "% with size smaller than minimum"),
    (&[(1, "too_short")], "% with data size < data length"),
    (&[(3, "fragments_received")], "% fragment~ received"),
    (&[(13, "reassembled")], "% packet~ reassembled ok"),
    (&[(10, "delivered")], "% packet~ for this host"),
    (&[(7, "forwarded")], "% packet~ forwarded"),
    (&[(8, "not_forwardable")], "% packet~ not forwardable"),
    (&[(9, "redirects_sent")], "% redirect~ sent"),
    (&[(11, "sent")], "% packet~ sent from this host"),
    (&[(18, "no_route")], "% output packet~ discarded due to no route"),
    (&[(14, "fragmented")], "% output datagram~ fragmented"),
    (&[(15, "fragments_created")], "% fragment~ created"),
    (&[(16, "cannot_fragment")], "% datagram~ that can't be fragmented"),
    (&[(21, "bad_address")], "% packet~ that violated scope rules"),
];

const TCP: &[Line] = &[
    (&[(18, "sent")], "% packet~ sent"),
    (&[(19, "data_sent"), (20, "bytes_sent")], "\t% data packet~ (% byte~)"),
    (&[(21, "retransmitted")], "\t% data packet~ retransmitted"),
    (&[(23, "acks_sent")], "\t% ack-only packet~"),
    (&[(25, "urgent_sent")], "\t% URG only packet~"),
    (&[(27, "control_sent")], "\t% control packet~"),
    (&[(28, "received")], "% packet~ received"),
    (&[(47, "acks_received"), (48, "bytes_acknowledged")], "\t% ack~ (for % byte~)"),
    (&[(29, "data_received"), (30, "bytes_received")], "\t% packet~ (% byte~) received in-sequence"),
    (&[(31, "bad_checksum")], "\t% discarded for bad checksum~"),
    (&[(34, "too_short")], "\t% discarded because packet too short"),
    (&[(0, "connects")], "% connection request~"),
    (&[(1, "accepts")], "% connection accept~"),
    (&[(2, "established")], "% connection~ established (including accepts)"),
    (&[(5, "closed"), (3, "dropped")], "% connection~ closed (including % drop~)"),
    (&[(4, "embryos_dropped")], "% embryonic connection~ dropped"),
    (&[(9, "timed_out")], "\t% connection~ dropped by rexmit timeout"),
    (&[(54, "no_socket")], "% dropped due to no socket"),
    (&[(57, "syns_taken")], "% SYN cache entries added"),
    (&[(58, "syns_completed")], "\t% completed"),
    (&[(60, "syns_overflowed")], "\t% dropped due to overflow"),
];

const UDP: &[Line] = &[
    (&[(0, "received")], "% datagram~ received"),
    (&[(1, "too_short")], "% with incomplete header"),
    (&[(3, "bad_length")], "% with bad data length field"),
    (&[(2, "bad_checksum")], "% with bad checksum"),
    (&[(4, "no_socket")], "% dropped due to no socket"),
    (&[(5, "no_socket_of_many")], "% broadcast/multicast datagram~ dropped due to no socket"),
    (&[(6, "full")], "% dropped due to full socket buffers"),
    (&[(8, "sent")], "% datagram~ output"),
];

const UDP6: &[Line] = &[
    (&[(0, "received")], "% datagram~ received"),
    (&[(1, "too_short")], "% with incomplete header"),
    (&[(4, "bad_length")], "% with bad data length field"),
    (&[(2, "bad_checksum")], "% with bad checksum"),
    (&[(5, "no_socket")], "% dropped due to no socket"),
    (&[(6, "no_socket_of_many")], "% multicast datagram~ dropped due to no socket"),
    (&[(7, "full")], "% dropped due to full socket buffers"),
    (&[(9, "sent")], "% datagram~ output"),
];

const ICMP: &[Line] = &[
    (&[(0, "errors")], "% call~ to icmp_error"),
    (&[(23, "too_short")], "% message~ < minimum length"),
    (&[(24, "bad_checksum")], "% bad checksum~"),
];

const ICMP6: &[Line] = &[
    (&[(0, "errors")], "% call~ to icmp6_error"),
    (&[(260, "too_short")], "% message~ < minimum length"),
    (&[(261, "bad_checksum")], "% bad checksum~"),
];

const ICMP_TYPES: Histograms = Histograms {
    sent: 3,
    received: 27,
    names: &[
        (0, "echo reply"),
        (3, "destination unreachable"),
        (4, "source quench"),
        (5, "routing redirect"),
        (8, "echo"),
        (9, "router advertisement"),
        (10, "router solicitation"),
        (11, "time exceeded"),
        (12, "parameter problem"),
        (13, "time stamp"),
        (14, "time stamp reply"),
        (15, "information request"),
        (16, "information request reply"),
        (17, "address mask request"),
        (18, "address mask reply"),
    ],
};

const ICMP6_TYPES: Histograms = Histograms {
    sent: 3,
    received: 264,
    names: &[
        (1, "unreach"),
        (2, "packet too big"),
        (3, "time exceed"),
        (4, "parameter problem"),
        (128, "echo"),
        (129, "echo reply"),
        (130, "multicast listener query"),
        (131, "MLDv1 listener report"),
        (132, "MLDv1 listener done"),
        (133, "router solicitation"),
        (134, "router advertisement"),
        (135, "neighbor solicitation"),
        (136, "neighbor advertisement"),
        (137, "redirect"),
        (143, "MLDv2 listener report"),
    ],
};

/// Puts numbers into the text of a line.
fn fill(text: &str, numbers: &[u64]) -> String {
    let (mut line, mut rest, mut last) = ("\t".to_owned(), numbers.iter(), 0);
    for letter in text.chars() {
        match letter {
            '%' => {
                last = rest.next().copied().unwrap_or_default();
                line.push_str(&last.to_string());
            }
            '~' if last == 1 => {}
            '~' => line.push('s'),
            letter => line.push(letter),
        }
    }
    line
}

/// Shows what was counted, of one family or one protocol if they are given.
pub fn show(kernel: &dyn Caller, only: [Option<&str>; 2], json: bool) -> anyhow::Result<Vec<String>> {
    let [family, name] = only;
    let wanted = |protocol: &&Protocol| {
        let [v4, v6] = protocol.families;
        family.is_none_or(|family| if family == "inet" { v4 } else { v6 })
            && name.is_none_or(|name| name == protocol.name)
    };
    let protocols: Vec<&Protocol> = PROTOCOLS.iter().filter(wanted).collect();
    ensure!(!protocols.is_empty(), "{}: nothing is counted", name.unwrap_or_default());
    let (mut lines, mut all) = (Vec::new(), Map::new());
    for protocol in protocols {
        let bytes = ctl::sysctl_read(kernel, &protocol.table).map_err(said(protocol.name))?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let number = |place: usize| numbers.get(place).map_or(0, |number| u64::from_ne_bytes(*number));
        let mut words = Map::new();
        lines.push(format!("{}:", protocol.name));
        for (places, text) in protocol.lines {
            let numbers: Vec<u64> = places.iter().map(|(place, _)| number(*place)).collect();
            lines.push(fill(text, &numbers));
            words.extend(places.iter().zip(numbers).map(|((_, word), number)| ((*word).to_owned(), number.into())));
        }
        for (word, title, from) in
            protocol.histograms.iter().flat_map(|of| [("output", "Output", of.sent), ("input", "Input", of.received)])
        {
            let names = protocol.histograms.as_ref().map_or(&[][..], |of| of.names);
            let counted = names.iter().map(|(kind, name)| (*name, number(from + kind))).filter(|(_, count)| *count > 0);
            let counted: Vec<(&str, u64)> = counted.collect();
            if !counted.is_empty() {
                lines.push(format!("\t{title} histogram:"));
            }
            lines.extend(counted.iter().map(|(name, count)| format!("\t\t{name}: {count}")));
            let counted = counted.into_iter().map(|(name, count)| (name.to_owned(), count.into()));
            words.insert(word.to_owned(), Value::Object(counted.collect()));
        }
        all.insert(protocol.name.to_owned(), Value::Object(words));
    }
    Ok(if json { vec![Value::Object(all).to_string()] } else { lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_plurals() {
        assert_eq!(fill("\t% data packet~ (% byte~)", &[1, 2]), "\t\t1 data packet (2 bytes)");
        assert_eq!(fill("% ack~ (for % byte~)", &[0, 1]), "\t0 acks (for 1 byte)");
    }

    #[test]
    fn every_word_stands_for_one_place() {
        for protocol in PROTOCOLS {
            let mut words: Vec<_> = protocol.lines.iter().flat_map(|(places, _)| *places).collect();
            words.sort_by_key(|(_, word)| *word);
            assert!(words.windows(2).all(|two| two[0].1 != two[1].1), "{}", protocol.name);
        }
    }
}
