//! chown(2): who may give what to whom.

use super::prelude::*;

/// All of it.
pub fn all() {
    for thing in [Thing::File, Thing::Empty, Thing::Fifo, Thing::ToFile, Thing::Broken] {
        if !Thing::all().any(|here| here == thing) {
            continue;
        }
        for (owner, group) in [(USER, USER), (USER, GROUP), (USER, OTHER), (OTHER, USER), (0, 0)] {
            for (uid, gid) in [
                (u32::MAX, u32::MAX),
                (USER, u32::MAX),
                (OTHER, u32::MAX),
                (0, u32::MAX),
                (u32::MAX, USER),
                (u32::MAX, GROUP),
                (u32::MAX, OTHER),
                (u32::MAX, 0),
                (USER, GROUP),
                (owner, group),
                (OTHER, GROUP),
            ] {
                for (call, flags) in [("chown", 0), ("lchown", AT_SYMLINK_NOFOLLOW)] {
                    thing.renew("t");
                    unsafe {
                        assert_eq!(lchown(c"t".as_ptr(), owner, group), 0);
                        if thing == Thing::ToFile {
                            chown(c"t".as_ptr(), owner, group);
                        }
                        let who = |id: u32| if id == u32::MAX { "-".to_owned() } else { id.to_string() };
                        let give = || said(fchownat(AT_FDCWD, c"t".as_ptr(), uid, gid, flags));
                        let by_user = as_user(give);
                        let after = thing.look("t");
                        let by_root = give();
                        line(format_args!(
                            "{call} {thing:?} of {owner}.{group} to {}.{}: user {by_user} {after}, root {by_root} {}",
                            who(uid),
                            who(gid),
                            thing.look("t")
                        ));
                    }
                }
            }
        }
    }
}
