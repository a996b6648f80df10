//! seccomp(2): a program that confines itself goes on reaching the rump kernel.
//!
//! A filter is written for the calls that the program makes. The calls that this library makes in their place would end the process
//! (OpenSSH's sandbox allows read(2) and write(2), but not the sendmsg(2) that carries them). So each filter gets a prologue
//! that allows what comes from this library's own text; all else is judged as the program said. The program's own calls to
//! the host are never made from that text.
//!
//! Strict mode knows no such exception, so a filter keeps its rules: read(2), write(2), _exit(2) and rt_sigreturn(2), and the end for all
//! else. The one difference is that it ends by SIGSYS, which is what a filter can do, in place of SIGKILL.

use std::ops::Range;

use abi::{Errno, Result};
use client::signals::Blocked;
use libc::{BPF_ABS, BPF_IMM, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

use crate::calls::{Outcome, outcome};
use crate::{process, raw, trace, user};

/// Where struct seccomp_data has the address of the instruction, low half first.
const INSTRUCTION: u32 = std::mem::offset_of!(libc::seccomp_data, instruction_pointer) as u32;

/// struct sock_fprog.
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
struct Program {
    length: u16,
    pad: [u8; 6],
    filter: u64,
}

/// What strict mode leaves.
const STRICT: [i64; 4] = [libc::SYS_read, libc::SYS_write, libc::SYS_exit, libc::SYS_rt_sigreturn];

/// `AUDIT_ARCH_X86_64`: as a 64-bit program numbers its calls.
const ARCHITECTURE: u32 = 0xc000_003e;

/// See prctl(2): `PR_SET_SECCOMP`.
pub fn prctl(option: i32, mode: usize, program: usize) -> Outcome {
    if option != libc::PR_SET_SECCOMP {
        return Outcome::Host;
    }
    process::connect_before_it_is_late();
    match u32::try_from(mode) {
        Ok(libc::SECCOMP_MODE_FILTER) => {
            install(program, |program| raw::call(libc::SYS_prctl, [option as usize, mode, program]))
        }
        Ok(libc::SECCOMP_MODE_STRICT) => strict(),
        _ => Outcome::Host,
    }
}

/// See seccomp(2).
pub fn seccomp(operation: u32, flags: usize, program: usize) -> Outcome {
    process::connect_before_it_is_late();
    match operation {
        libc::SECCOMP_SET_MODE_FILTER => {
            install(program, |program| raw::call(libc::SYS_seccomp, [operation as usize, flags, program]))
        }
        libc::SECCOMP_SET_MODE_STRICT if flags == 0 && program == 0 => strict(),
        _ => Outcome::Host,
    }
}

/// Confines the thread to what strict mode leaves, and to this library's calls. The host judges where there is a filter already.
fn strict() -> Outcome {
    let _blocked = Blocked::enter();
    let confined = raw::call(libc::SYS_prctl, [libc::PR_GET_SECCOMP as usize]) != 0;
    let Some(text) = own_text().filter(|_| !confined && process::ready()) else { return Outcome::Host };
    let filter = strict_filter(&text);
    let program = Program { length: filter.len() as u16, pad: [0; 6], filter: filter.as_ptr() as u64 };
    // Who is not the superuser must promise that; a program that can run no other one has nothing to lose by it.
    raw::call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0]);
    trace::say(format_args!("seccomp: a filter keeps the rules of strict mode; what they forbid ends by SIGSYS"));
    let mode = libc::SECCOMP_MODE_FILTER as usize;
    let args = [libc::PR_SET_SECCOMP as usize, mode, &raw const program as usize];
    outcome(raw::checked(raw::call(libc::SYS_prctl, args)))
}

/// The rules of strict mode behind our prologue.
fn strict_filter(text: &Range<u64>) -> Vec<sock_filter> {
    let mut filter = prologue(text);
    let allow = step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW);
    let end = step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_KILL_THREAD);
    let equals = |what: u32| step(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, what);
    let load = |field: usize| step(BPF_LD | BPF_W | BPF_ABS, 0, 0, field as u32);
    filter.extend([
        load(std::mem::offset_of!(libc::seccomp_data, arch)),
        step(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCHITECTURE),
    ]);
    filter.extend([end, load(std::mem::offset_of!(libc::seccomp_data, nr))]);
    filter.extend(STRICT.iter().flat_map(|nr| [equals(*nr as u32), allow]));
    filter.push(end);
    filter
}

const fn step(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

/// Installs the program's filter behind our prologue; the host judges what cannot be read.
fn install(addr: usize, call: impl Fn(usize) -> isize) -> Outcome {
    let _blocked = Blocked::enter();
    let Some(filter) = own_text().and_then(|text| extended(addr, &text).ok()) else { return Outcome::Host };
    let program = Program { length: filter.len() as u16, pad: [0; 6], filter: filter.as_ptr() as u64 };
    trace::say(format_args!("seccomp: the program's filter lets the calls of this library pass"));
    outcome(raw::checked(call(&raw const program as usize)))
}

/// Reads the filter at `addr` and puts the prologue in front; `EINVAL` if that is too long.
fn extended(addr: usize, text: &Range<u64>) -> Result<Vec<sock_filter>> {
    let program: Program = user::read(addr)?;
    let mut filter = prologue(text);
    let length = usize::from(program.length);
    if length == 0 || length + filter.len() > libc::BPF_MAXINSNS as usize {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; length * size_of::<sock_filter>()];
    user::read_bytes(program.filter as usize, &mut bytes)?;
    let (instructions, _) = bytes.as_chunks::<8>();
    filter.extend(instructions.iter().map(|&[a, b, jt, jf, k @ ..]| sock_filter {
        code: u16::from_ne_bytes([a, b]),
        jt,
        jf,
        k: u32::from_ne_bytes(k),
    }));
    Ok(filter)
}

/// Allows a call whose instruction is in `text`; anything else falls through. A filter compares halves of an address, so what crosses a
/// multiple of 4 GiB is compared in two pieces.
fn prologue(text: &Range<u64>) -> Vec<sock_filter> {
    let (load, low, high) = (BPF_LD | BPF_W | BPF_ABS, INSTRUCTION, INSTRUCTION + 4);
    let mut filter = Vec::new();
    let mut start = text.start;
    while start < text.end {
        let end = text.end.min((start | u64::from(u32::MAX)).saturating_add(1));
        filter.extend([
            step(load, 0, 0, high),
            step(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (start >> 32) as u32),
            step(load, 0, 0, low),
            step(BPF_JMP | BPF_JGE | BPF_K, 0, 2, start as u32),
            step(BPF_JMP | BPF_JGT | BPF_K, 1, 0, (end - 1) as u32),
            step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ]);
        start = end;
    }
    // A filter begins with an empty accumulator.
    filter.push(step(BPF_LD | BPF_IMM, 0, 0, 0));
    filter
}

/// This library's executable segment, behind whose system calls `syscall` leaves the address of the next instruction.
fn own_text() -> Option<Range<u64>> {
    unsafe extern "C" {
        static __ehdr_start: libc::Elf64_Ehdr;
    }
    // SAFETY: the linker puts the symbol at our ELF header, and the program headers are mapped with it.
    let (base, headers) = unsafe {
        let header = &raw const __ehdr_start;
        let first = header.byte_add((*header).e_phoff as usize).cast::<libc::Elf64_Phdr>();
        (header as u64, std::slice::from_raw_parts(first, usize::from((*header).e_phnum)))
    };
    let segment = headers.iter().find(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0)?;
    let start = base + segment.p_vaddr;
    Some(start..start + segment.p_memsz)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the prologue says of a call from `address`.
    fn allowed(text: &Range<u64>, address: u64) -> bool {
        passes(&prologue(text), [0, 0, address as u32, (address >> 32) as u32])
    }

    /// What a filter says of a call: its number, architecture, and instruction in two halves.
    fn passes(filter: &[sock_filter], call: [u32; 4]) -> bool {
        let (mut at, mut value) = (0usize, 0u32);
        while let Some(step) = filter.get(at) {
            at += 1;
            let holds = match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    value = call[step.k as usize / 4];
                    continue;
                }
                code if code == BPF_JMP | BPF_JEQ | BPF_K => value == step.k,
                code if code == BPF_JMP | BPF_JGE | BPF_K => value >= step.k,
                code if code == BPF_JMP | BPF_JGT | BPF_K => value > step.k,
                code if code == BPF_RET | BPF_K => return step.k == libc::SECCOMP_RET_ALLOW,
                _ => continue,
            };
            at += usize::from(if holds { step.jt } else { step.jf });
        }
        false
    }

    #[test]
    fn only_the_librarys_own_text_is_let_through() {
        let text = 0x7f12_3450_0000..0x7f12_3460_0000;
        assert!(allowed(&text, 0x7f12_3450_0000) && allowed(&text, 0x7f12_345f_ffff));
        assert!(!allowed(&text, 0x7f12_344f_ffff) && !allowed(&text, 0x7f12_3460_0000));
        assert!(!allowed(&text, 0x3450_0000) && !allowed(&text, 0x7f13_3450_0000));
    }

    #[test]
    fn text_may_cross_and_touch_multiples_of_4_gib() {
        let crosses = 0x7f12_fff0_0000..0x7f13_0010_0000;
        for inside in [0x7f12_fff0_0000, 0x7f12_ffff_ffff, 0x7f13_0000_0000, 0x7f13_000f_ffff] {
            assert!(allowed(&crosses, inside), "{inside:#x}");
        }
        for outside in [0x7f12_ffef_ffff, 0x7f13_0010_0000, 0x7f12_0000_0000, 0x7f13_ffff_ffff, 0x7f14_0000_0000] {
            assert!(!allowed(&crosses, outside), "{outside:#x}");
        }
        let touches = 0x7f12_fff0_0000..0x7f13_0000_0000;
        assert!(allowed(&touches, 0x7f12_ffff_ffff) && !allowed(&touches, 0x7f13_0000_0000));
        assert_eq!(prologue(&touches).len(), 7);
    }

    #[test]
    fn strict_mode_leaves_four_calls() {
        let filter = strict_filter(&(0x1_0000_0000..0x1_0001_0000));
        for nr in 0..500 {
            let call = [nr, ARCHITECTURE, 0x1000, 7];
            assert_eq!(passes(&filter, call), STRICT.contains(&i64::from(nr)), "{nr}");
            assert!(
                passes(&filter, [nr, ARCHITECTURE, 0x1000, 1]) && !passes(&filter, [nr, 0x4000_0003, 0x1000, 7]),
                "{nr}"
            );
        }
    }

    #[test]
    fn this_function_is_in_our_text() {
        let own = own_text as fn() -> Option<Range<u64>> as usize as u64;
        assert!(own_text().is_some_and(|text| text.contains(&own)));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_the_hosts() {
        let text = 0..1;
        assert!(extended(8, &text).is_err());
        let empty = Program { length: 0, pad: [0; 6], filter: 0 };
        assert_eq!(extended(&raw const empty as usize, &text).map(|filter| filter.len()), Err(Errno::EINVAL));
    }
}
