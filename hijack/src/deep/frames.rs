//! Reads an object's unwind tables: where its functions begin and end, and the rules that hold at an instruction.
//!
//! The format is that of the [Linux Standard Base](https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/ehframechpt.html);
//! of its many encodings only those are understood that linkers produce for x86-64. Anything else reads as "not there".

use super::object::Object;
use core::ops::Range;

/// Version 1; eh_frame pointer pc-relative i32; count u32; table of i32 pairs relative to the header.
const HEADER: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
/// Pointer encoding "pc-relative, signed, 4 bytes".
const PCREL_SDATA4: u8 = 0x1b;

/// Reads little-endian numbers off a byte string.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// Reads an unsigned or signed LEB128 number as its raw low bits: enough for skipping, and for small unsigned values.
    pub fn uleb(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
            shift += 7;
        }
    }

    fn until_zero(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|&byte| byte == 0)?;
        let text = self.take(length)?;
        self.take(1)?;
        Some(text)
    }
}

/// One function as its frame description entry (FDE) bounds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub range: Range<usize>,
    /// Address of the FDE.
    fde: usize,
}

/// The sorted index of an object's functions.
pub struct Frames<'a> {
    object: &'a Object,
    /// Pairs of i32: function and FDE, relative to the header.
    table: &'a [u8],
}

/// The unwind program of a function, not yet run.
pub struct Program<'a> {
    /// Rules of the common information entry, which hold at the function's first instruction.
    pub initial: &'a [u8],
    /// What changes in the function.
    pub changes: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Opens the index of `object`, if it is of the known form.
    pub fn of(object: &'a Object) -> Option<Frames<'a>> {
        let mut reader = Reader(object.bytes_from(object.eh_frame_hdr)?);
        if reader.array()? != HEADER {
            return None;
        }
        reader.i32()?;
        let count = reader.u32()? as usize;
        Some(Frames { object, table: reader.take(count.checked_mul(8)?)? })
    }

    pub fn object(&self) -> &'a Object {
        self.object
    }

    pub fn len(&self) -> usize {
        self.table.len() / 8
    }

    /// Returns the start of the `index`th function and the address of its FDE.
    fn entry(&self, index: usize) -> Option<(usize, usize)> {
        let mut reader = Reader(self.table.get(index.checked_mul(8)?..)?);
        let header = self.object.eh_frame_hdr;
        Some((header.wrapping_add_signed(reader.i32()? as isize), header.wrapping_add_signed(reader.i32()? as isize)))
    }

    /// Returns the `index`th function in order of addresses.
    pub fn function(&self, index: usize) -> Option<Function> {
        let (start, fde) = self.entry(index)?;
        let length = Reader(self.object.bytes_from(fde)?.get(12..)?).u32()?;
        Some(Function { range: start..start.checked_add(length as usize)?, fde })
    }

    /// Returns the number of the last function that begins at or before `address`.
    pub fn index_of(&self, address: usize) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(middle)?.0 <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }

    /// Returns the function that holds `address`.
    pub fn function_at(&self, address: usize) -> Option<Function> {
        self.function(self.index_of(address)?).filter(|function| function.range.contains(&address))
    }

    /// Returns the unwind program of `function`, if its CIE uses x86-64's usual factors and register numbers.
    pub fn program(&self, function: &Function) -> Option<Program<'a>> {
        let mut fde = Reader(self.object.bytes_from(function.fde)?);
        let length = fde.u32()? as usize;
        let mut fde = Reader(fde.take(length)?);
        let back = fde.u32()? as usize;
        let mut cie = Reader(self.object.bytes_from(function.fde.checked_add(4)?.checked_sub(back)?)?);
        let length = cie.u32()? as usize;
        let mut cie = Reader(cie.take(length)?);
        let (id, version, augmentation) = (cie.u32()?, cie.u8()?, cie.until_zero()?);
        let (code_factor, data_factor, return_column) = (cie.uleb()?, cie.uleb()?, cie.uleb()?);
        // 0x78 is -8 in signed LEB128; column 16 is the return address.
        let usual = id == 0 && version == 1 && (code_factor, data_factor, return_column) == (1, 0x78, 16);
        if !usual || augmentation.first() != Some(&b'z') || augmentation.contains(&b'S') {
            return None;
        }
        let length = cie.uleb()? as usize;
        let data = cie.take(length)?;
        // The encoding of addresses is the first byte of "zR" and the last of "zPLR".
        if augmentation.last() != Some(&b'R') || data.last() != Some(&PCREL_SDATA4) {
            return None;
        }
        fde.take(8)?;
        let length = fde.uleb()? as usize;
        fde.take(length)?;
        Some(Program { initial: cie.0, changes: fde.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::object;
    use super::*;

    #[test]
    fn functions_are_in_order_and_have_programs() {
        for object in object::loaded().into_iter().filter(|object| object::NAMES.contains(&object.name.as_str())) {
            let frames = Frames::of(&object).unwrap();
            assert!(frames.len() > 100);
            let mut before = 0;
            for index in 0..frames.len() {
                let function = frames.function(index).unwrap();
                assert!(function.range.start >= before);
                before = function.range.start;
                assert_eq!(frames.index_of(function.range.start).unwrap(), index);
            }
            let with = (0..frames.len()).filter(|&i| frames.program(&frames.function(i).unwrap()).is_some()).count();
            assert!(with * 10 > frames.len() * 9, "{with} of {}", frames.len());
        }
    }
}
