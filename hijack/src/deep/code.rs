//! A decoded function: who can come before an instruction, and which constant a register holds there.

use super::frames::Reader;
use super::object::Object;
use core::ops::Range;
use iced_x86::{
    Code as Op, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register,
};

/// Steps that the search for a constant may take before it gives up.
const STEPS: usize = 4000;

/// One function's instructions in order, and the branches among them.
pub struct Code {
    instructions: Vec<Instruction>,
    /// Branches within the function: address of the target, index of the branch. Sorted.
    edges: Vec<(usize, usize)>,
}

/// A constant, and the addresses from the first to the last instruction it depends on.
#[derive(Debug, PartialEq, Eq)]
pub struct Constant {
    pub value: usize,
    pub from: usize,
    pub to: usize,
}

/// What an instruction does to a register.
enum Effect {
    Sets(u64),
    Copies(Register),
    Keeps,
    Destroys,
}

impl Code {
    /// Decodes the function at `range`; `None` if it is unreadable or holds bytes that are no instruction.
    pub fn decode(object: &Object, range: &Range<usize>) -> Option<Code> {
        let bytes = object.bytes(range.clone())?;
        let mut decoder = Decoder::with_ip(64, bytes, range.start as u64, DecoderOptions::NONE);
        let mut instructions = Vec::with_capacity(bytes.len() / 4);
        while decoder.can_decode() {
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                return None;
            }
            instructions.push(instruction);
        }
        let mut code = Code { instructions, edges: Vec::new() };
        code.edges = code.branches(object, range);
        code.edges.sort_unstable();
        Some(code)
    }

    /// Lists the branches that stay within the function, those through jump tables included.
    fn branches(&self, object: &Object, range: &Range<usize>) -> Vec<(usize, usize)> {
        let mut edges = Vec::new();
        let (mut jumps, mut tables) = (Vec::new(), Vec::new());
        for (index, instruction) in self.instructions.iter().enumerate() {
            if matches!(instruction.op0_kind(), OpKind::NearBranch64) {
                edges.push((instruction.near_branch64() as usize, index));
            } else if instruction.flow_control() == FlowControl::IndirectBranch {
                jumps.push(index);
            } else if instruction.code() == Op::Lea_r64_m && instruction.is_ip_rel_memory_operand() {
                tables.push(instruction.ip_rel_memory_address() as usize);
            }
        }
        if !jumps.is_empty() {
            // Which jump uses which table is not asked: each target counts as one of each jump.
            for target in tables.iter().flat_map(|&table| table_targets(object, table, range)) {
                edges.extend(jumps.iter().map(|&jump| (target, jump)));
            }
        }
        edges.retain(|(target, _)| range.contains(target));
        edges
    }

    pub fn get(&self, index: usize) -> Option<&Instruction> {
        self.instructions.get(index)
    }

    /// Returns the address of an instruction.
    pub fn address(&self, index: usize) -> Option<usize> {
        self.get(index).map(|instruction| instruction.ip() as usize)
    }

    /// Returns the number of the instruction that begins at `address`.
    pub fn index_of(&self, address: usize) -> Option<usize> {
        self.instructions.binary_search_by_key(&(address as u64), Instruction::ip).ok()
    }

    /// Tells whether a branch of this function leads into `range`.
    pub fn is_target(&self, range: Range<usize>) -> bool {
        let first = self.edges.partition_point(|(target, _)| *target < range.start);
        self.edges.get(first).is_some_and(|(target, _)| range.contains(target))
    }

    /// Returns the constant that `register` holds before the instruction `index` on every way that leads there.
    pub fn constant(&self, index: usize, register: Register) -> Option<Constant> {
        let mut info = InstructionInfoFactory::new();
        let (mut work, mut seen) = (vec![(index, register)], Vec::new());
        let mut value = None;
        let (mut from, mut to) = (index, index);
        while let Some((index, register)) = work.pop() {
            if seen.contains(&(index, register)) {
                continue;
            }
            seen.push((index, register));
            let before = self.predecessors(index);
            // An instruction with none is the function's first, or reached in a way not seen here.
            if before.is_empty() || index == 0 || seen.len() > STEPS {
                return None;
            }
            for index in before {
                (from, to) = (from.min(index), to.max(index));
                match effect(self.get(index)?, register, &mut info) {
                    Effect::Sets(constant) if value.is_none_or(|value| value == constant) => value = Some(constant),
                    Effect::Sets(_) | Effect::Destroys => return None,
                    Effect::Copies(source) => work.push((index, source)),
                    Effect::Keeps => work.push((index, register)),
                }
            }
        }
        Some(Constant { value: value? as usize, from: self.address(from)?, to: self.address(to)? })
    }

    /// Returns the instructions that may be followed by the instruction `index`.
    fn predecessors(&self, index: usize) -> Vec<usize> {
        let mut before = Vec::new();
        if let Some(previous) = index.checked_sub(1)
            && self.get(previous).is_some_and(falls_through)
        {
            before.push(previous);
        }
        if let Some(address) = self.address(index) {
            let first = self.edges.partition_point(|(target, _)| *target < address);
            let rest = self.edges.get(first..).unwrap_or_default();
            before.extend(rest.iter().take_while(|(target, _)| *target == address).map(|(_, branch)| *branch));
        }
        before
    }
}

/// Tells whether the instruction behind this one may come next.
pub fn falls_through(instruction: &Instruction) -> bool {
    use FlowControl::{Call, ConditionalBranch, IndirectCall, Interrupt, Next, XbeginXabortXend};
    matches!(instruction.flow_control(), Next | Call | IndirectCall | ConditionalBranch | Interrupt | XbeginXabortXend)
}

/// Reads a table of 32-bit offsets as far as they lead from the table into `range`.
fn table_targets(object: &Object, table: usize, range: &Range<usize>) -> Vec<usize> {
    let mut targets = Vec::new();
    if !object.text.contains(&table)
        && let Some(bytes) = object.bytes_from(table)
    {
        let mut reader = Reader(bytes);
        while let Some(offset) = reader.i32() {
            let target = table.wrapping_add_signed(offset as isize);
            if !range.contains(&target) {
                break;
            }
            targets.push(target);
        }
    }
    targets
}

/// Returns what `instruction` does to `register`, a full register.
fn effect(instruction: &Instruction, register: Register, info: &mut InstructionInfoFactory) -> Effect {
    use Register::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
    let destroyed =
        |registers: &[Register]| if registers.contains(&register) { Effect::Destroys } else { Effect::Keeps };
    match instruction.flow_control() {
        FlowControl::Call if instruction.code() == Op::Syscall => return destroyed(&[RAX, RCX, R11]),
        FlowControl::Call | FlowControl::IndirectCall => {
            return destroyed(&[RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11]);
        }
        _ => {}
    }
    if instruction.op0_kind() == OpKind::Register && instruction.op0_register().full_register() == register {
        match instruction.code() {
            Op::Mov_r32_imm32 => return Effect::Sets(u64::from(instruction.immediate32())),
            Op::Mov_rm64_imm32 | Op::Mov_rm32_imm32 => {
                let value = instruction.immediate(1);
                return Effect::Sets(if instruction.code() == Op::Mov_rm32_imm32 {
                    value & 0xffff_ffff
                } else {
                    value
                });
            }
            Op::Xor_rm32_r32 | Op::Xor_r32_rm32
                if instruction.op1_kind() == OpKind::Register
                    && instruction.op1_register() == instruction.op0_register() =>
            {
                return Effect::Sets(0);
            }
            Op::Mov_r32_rm32 | Op::Mov_rm32_r32 | Op::Mov_r64_rm64 | Op::Mov_rm64_r64
                if instruction.op1_kind() == OpKind::Register =>
            {
                return Effect::Copies(instruction.op1_register().full_register());
            }
            _ => {}
        }
    }
    let writes =
        |access| !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
    let used = info.info(instruction).used_registers();
    match used.iter().any(|used| used.register().full_register() == register && writes(used.access())) {
        true => Effect::Destroys,
        false => Effect::Keeps,
    }
}
