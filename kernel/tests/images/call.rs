//! mount(2) as a NetBSD program makes it: a structure of the type's own, with a pointer to the name of the disk.

use std::path::Path;
use std::sync::{Arc, Mutex};

use abi::mount::{ISOFSMNT_NORRIP, IsoArgs, MsdosfsArgs, UfsArgs};
use abi::syscalls::nr;
use abi::{Errno, Result};
use kernel::Kernel;
use kernel::config::Config;
use kernel::fs::etfs::Window;
use kernel::proc::{Lwp, Proc};
use kernel::rumpuser::sim::SimHost;
use kernel::usermem::UserMem;
use kernel::vfs::Kind;
use kernel::vfs::namei::Follow;
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::fat::format;

/// A program's memory.
#[derive(Default)]
struct Memory(Mutex<Vec<u8>>);

/// Where it begins.
const BASE: u64 = 0x1000;

impl Memory {
    fn put(&self, bytes: &[u8]) -> u64 {
        let mut memory = self.0.lock().unwrap();
        memory.extend_from_slice(bytes);
        BASE + (memory.len() - bytes.len()) as u64
    }
}

impl UserMem for Memory {
    fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        let memory = self.0.lock().unwrap();
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        buf.copy_from_slice(memory.get(at..at + buf.len()).ok_or(Errno::EFAULT)?);
        Ok(())
    }

    fn copyinstr(&self, addr: u64, max: usize) -> Result<Vec<u8>> {
        let memory = self.0.lock().unwrap();
        let at = addr.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        let rest = memory.get(at..).ok_or(Errno::EFAULT)?;
        let end = rest.iter().take(max).position(|byte| *byte == 0).ok_or(Errno::ENAMETOOLONG)?;
        Ok(rest[..end].to_vec())
    }

    fn copyout(&self, _: u64, _: &[u8]) -> Result<()> {
        Err(Errno::EFAULT)
    }

    fn raise(&self, _: i32) {}
}

struct Caller {
    kernel: Arc<Kernel>,
    proc: Arc<Proc>,
    memory: Memory,
}

impl Caller {
    fn new(image: &[u8]) -> Self {
        let host = SimHost::new(1);
        host.put_file("/disk", image);
        let kernel = Kernel::boot(host, Config { threads: false, ..Config::default() }).unwrap();
        kernel.vfs.etfs_register(b"/disk", Path::new("/disk"), Kind::Block, Window::default()).unwrap();
        let proc = kernel.spawn(b"test").unwrap();
        Self { kernel, proc, memory: Memory::default() }
    }

    fn mount<T: IntoBytes + Immutable>(&self, kind: &str, path: &str, args: &T) -> Result<()> {
        let text = |text: &str| self.memory.put(&[text.as_bytes(), b"\0"].concat());
        let (kind, path, data) = (text(kind), text(path), self.memory.put(args.as_bytes()));
        let lwp = Lwp::new(&*self.kernel.rumpuser, 0);
        let args = [kind, path, 0, data, size_of::<T>() as u64];
        kernel::syscall::syscall(&self.kernel, &self.proc, &lwp, nr::mount, &args, &self.memory).map(drop)
    }

    fn mode(&self, path: &[u8]) -> (u32, u32) {
        let view = self.kernel.vfs.root_view().unwrap();
        let attr = view.namei(&view.cwd, path, Follow::Always).unwrap().node.attr();
        (attr.mode, attr.uid)
    }
}

#[test]
fn the_structures_of_netbsd_are_understood() {
    if crate::lacks(&["mkfs.fat", "fsck.fat", "mcopy"]) {
        return;
    }
    let caller = Caller::new(&format("-F 12", 1000));
    let fspec = caller.memory.put(b"/disk\0");
    let args = MsdosfsArgs { fspec, uid: 7, mask: 0o640, dirmask: 0o750, version: 3, ..MsdosfsArgs::new_zeroed() };
    assert_eq!(
        caller.mount("cd9660", "/usr", &IsoArgs { fspec, flags: ISOFSMNT_NORRIP, ..IsoArgs::new_zeroed() }),
        Err(Errno::EINVAL)
    );
    assert_eq!(caller.mount("msdos", "/usr", &MsdosfsArgs { fspec: 1, ..args }), Err(Errno::EFAULT));
    assert_eq!(caller.mount("msdos", "/usr", &args), Ok(()));
    assert_eq!(caller.mount("ext2fs", "/var", &UfsArgs { fspec }), Err(Errno::EBUSY));
    let view = caller.kernel.vfs.root_view().unwrap();
    view.mknod(&view.cwd, b"/usr/f", Kind::Regular, 0o666, 0).unwrap();
    assert_eq!((caller.mode(b"/usr/f"), caller.mode(b"/usr")), ((0o640, 7), (0o750, 7)));
    let from = caller.kernel.vfs.mounts().last().unwrap().statvfs().f_mntfromname;
    assert_eq!(&from[..6], b"/disk\0");
}
