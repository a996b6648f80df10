//! Where a row's folder lies: on which file system of the rump kernel.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::{built, limited, output};

/// A file system of the rump kernel. Scripts see its name in `$PLACE`, on the host as well, and leave out what it cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The root, a tmpfs.
    Root,
    /// A folder of the host.
    Hostfs,
    /// A FAT volume in an image.
    Fat,
}

/// The root alone: where most rows are.
pub const ROOT: &[Place] = &[Place::Root];
/// All.
pub const ALL: &[Place] = &[Place::Root, Place::Hostfs, Place::Fat];

/// What a place is made of on the host; goes when the row is done.
pub struct Ground {
    place: Place,
    folder: TempDir,
}

impl Place {
    /// The name, in `$PLACE` and on the page.
    pub fn name(self) -> &'static str {
        match self {
            Place::Root => "tmpfs",
            Place::Hostfs => "hostfs",
            Place::Fat => "msdos",
        }
    }

    /// Makes what the server is to mount on `/tmp`.
    pub fn prepare(self) -> Ground {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| TempDir::new()).expect("temporary folder");
        let ground = Ground { place: self, folder };
        let rc = match self {
            Place::Root => String::new(),
            Place::Hostfs => {
                std::fs::create_dir(ground.path("shown")).expect("a folder to show");
                format!("mount -t hostfs {} /tmp\n", ground.path("shown").display())
            }
            Place::Fat => {
                let mut mkfs = limited("/usr/sbin/mkfs.fat");
                let made = output(mkfs.args(["-F", "32", "-C"]).arg(ground.path("image")).arg("70000"));
                assert!(made.status.success(), "{made:?}");
                let drive = format!("drive key=/dev/image,hostpath={},size=host", ground.path("image").display());
                format!("{drive}\nmount -t msdos /dev/image /tmp\n")
            }
        };
        std::fs::write(ground.path("rc"), rc).expect("a file of commands");
        ground
    }
}

impl Ground {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Options for the server.
    pub fn options(&self) -> Vec<String> {
        vec!["--rc".to_owned(), self.path("rc").display().to_string()]
    }

    /// Has the server give the place back, and says what is wrong with it then.
    pub fn check(&self, url: &str) -> Result<(), String> {
        if self.place == Place::Root {
            return Ok(());
        }
        let gone = output(limited(built("rumpctl")).args(["-s", url, "umount", "/tmp"]));
        if !gone.status.success() {
            return Err(format!("umount: {}", String::from_utf8_lossy(&gone.stderr).trim()));
        }
        if self.place == Place::Fat {
            let said = output(limited("/usr/sbin/fsck.fat").arg("-n").arg(self.path("image")));
            if !said.status.success() {
                return Err(format!("fsck.fat: {}", String::from_utf8_lossy(&said.stdout)));
            }
        }
        Ok(())
    }
}
