//! Unwind tables for the trampolines.
//!
//! Without them `pthread_cancel` of a thread that blocks in a trampoline ends it without running C++ destructors, and
//! backtraces stop there. A trampoline stands for the place of its `syscall`, so the rules of that place hold in it.

use super::frames::{Frames, Program, Reader};
use super::scan::Site;
use super::trampoline::Trampoline;
use core::ffi::c_void;

const ADVANCE_LOC: u8 = 0x40;
const ADVANCE_LOC1: u8 = 0x02;
const DEF_CFA_OFFSET: u8 = 0x0e;
/// DWARF's number of rsp.
const RSP: u64 = 7;
/// How far the slow part of a trampoline lowers rsp.
const RED_ZONE: u64 = 128;

unsafe extern "C" {
    /// Makes the unwinder of libgcc_s know the tables at `begin`, up to an entry of length zero.
    fn __register_frame(begin: *const c_void);
}

/// Where the canonical frame address is: register and offset.
#[derive(Clone, Copy, Default)]
struct Cfa {
    register: u64,
    offset: u64,
}

/// Registers unwind tables for `trampolines`, those of `sites`. They stay for the life of the process.
///
/// A site whose function uses rules beyond the ordinary gets none: there the unwinder stops, as without tables.
pub fn register(frames: &Frames, sites: &[Site], trampolines: &[Trampoline]) {
    let mut tables = Vec::with_capacity(sites.len() * 64);
    let mut common: Option<(&[u8], usize)> = None;
    for (site, trampoline) in sites.iter().zip(trampolines) {
        let Some(program) = frames.program(&site.function) else { continue };
        let Some((rules, cfa)) = rules_at(&program, site) else { continue };
        let cie = match common {
            Some((initial, at)) if initial == program.initial => at,
            _ => put_cie(&mut tables, program.initial),
        };
        common = Some((program.initial, cie));
        put_fde(&mut tables, cie, trampoline, &rules, cfa);
    }
    tables.extend_from_slice(&[0; 4]);
    let tables = Vec::leak(tables);
    if common.is_some() {
        // SAFETY: the tables are well formed, end with a zero length, and live as long as the process.
        unsafe { __register_frame(tables.as_ptr().cast()) };
    }
}

/// Returns the function's changes up to the `syscall` without their locations, and the frame address that they lead to.
fn rules_at(program: &Program, site: &Site) -> Option<(Vec<u8>, Cfa)> {
    let mut cfa = Cfa::default();
    let mut remembered = Vec::new();
    run(program.initial, 0, usize::MAX, &mut cfa, &mut remembered)?;
    let rules = run(program.changes, site.function.range.start, site.syscall, &mut cfa, &mut remembered)?;
    Some((rules, cfa))
}

/// Runs `program` from `location` up to `end`, and returns the instructions that are no locations.
fn run(program: &[u8], mut location: usize, end: usize, cfa: &mut Cfa, remembered: &mut Vec<Cfa>) -> Option<Vec<u8>> {
    let mut rules = Vec::new();
    let mut reader = Reader(program);
    loop {
        let rest = reader.0;
        let Some(operation) = reader.u8() else { break };
        let advance = match operation {
            0x40..=0x7f => Some(usize::from(operation & 0x3f)),
            ADVANCE_LOC1 => Some(usize::from(reader.u8()?)),
            0x03 => Some(usize::from(reader.u16()?)),
            0x04 => Some(reader.u32()? as usize),
            _ => None,
        };
        if let Some(advance) = advance {
            location = location.checked_add(advance)?;
            if location > end {
                break;
            }
            continue;
        }
        rule(operation, &mut reader, cfa, remembered)?;
        rules.extend_from_slice(rest.get(..rest.len() - reader.0.len())?);
    }
    Some(rules)
}

/// Reads the operands of one rule, and follows what it does to the frame address; `None` if it is not an ordinary one.
fn rule(operation: u8, reader: &mut Reader, cfa: &mut Cfa, remembered: &mut Vec<Cfa>) -> Option<()> {
    match operation {
        0x00 | 0xc0..=0xff => {}
        0x0a => remembered.push(*cfa),
        0x0b => *cfa = remembered.pop()?,
        0x0c => *cfa = Cfa { register: reader.uleb()?, offset: reader.uleb()? },
        0x0d => cfa.register = reader.uleb()?,
        DEF_CFA_OFFSET => cfa.offset = reader.uleb()?,
        // offset, restore_extended, undefined, same_value, GNU_args_size: one number
        0x80..=0xbf | 0x06 | 0x07 | 0x08 | 0x2e => drop(reader.uleb()?),
        // offset_extended, register, offset_extended_sf, val_offset, val_offset_sf: two numbers
        0x05 | 0x09 | 0x11 | 0x14 | 0x15 => drop((reader.uleb()?, reader.uleb()?)),
        // expression, val_expression: a register and a block
        0x10 | 0x16 => {
            reader.uleb()?;
            let length = reader.uleb()? as usize;
            reader.take(length)?;
        }
        _ => return None,
    }
    Some(())
}

/// Appends an entry: its length, then what `body` writes, padded with no-operations. Returns the entry's place.
fn put_entry(tables: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = tables.len();
    tables.extend_from_slice(&[0; 4]);
    body(tables);
    tables.resize(tables.len().next_multiple_of(8), 0);
    let length = (tables.len() - start - 4) as u32;
    if let Some(place) = tables.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    start
}

/// Appends a common information entry with absolute addresses.
fn put_cie(tables: &mut Vec<u8>, initial: &[u8]) -> usize {
    put_entry(tables, |tables| {
        // id 0, version 1, "zR", code factor 1, data factor -8, return column 16, one byte of augmentation: absolute
        tables.extend_from_slice(&[0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0]);
        tables.extend_from_slice(initial);
    })
}

/// Appends the entry of one trampoline.
fn put_fde(tables: &mut Vec<u8>, cie: usize, trampoline: &Trampoline, rules: &[u8], cfa: Cfa) {
    put_entry(tables, |tables| {
        let back = (tables.len() - cie) as u32;
        tables.extend_from_slice(&back.to_le_bytes());
        tables.extend_from_slice(&trampoline.code.start.to_le_bytes());
        tables.extend_from_slice(&trampoline.code.len().to_le_bytes());
        tables.push(0);
        tables.extend_from_slice(rules);
        if cfa.register == RSP {
            let mut at = trampoline.code.start;
            for stepped in &trampoline.stepped {
                advance(tables, stepped.start - at);
                define_offset(tables, cfa.offset + RED_ZONE);
                advance(tables, stepped.len());
                define_offset(tables, cfa.offset);
                at = stepped.end;
            }
        }
    });
}

/// Appends a step forward of at most 255 bytes, which no trampoline exceeds.
fn advance(tables: &mut Vec<u8>, count: usize) {
    match count {
        0..0x40 => tables.push(ADVANCE_LOC | count as u8),
        _ => tables.extend_from_slice(&[ADVANCE_LOC1, count as u8]),
    }
}

/// Appends "the frame address lies `offset` above its register".
fn define_offset(tables: &mut Vec<u8>, mut offset: u64) {
    tables.push(DEF_CFA_OFFSET);
    while offset >= 0x80 {
        tables.push(offset as u8 | 0x80);
        offset >>= 7;
    }
    tables.push(offset as u8);
}
