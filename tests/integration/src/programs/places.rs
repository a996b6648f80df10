//! A day's work on each file system that can be written, over both kinds of socket: what a place for files must stand.

use super::*;

programs! { "places", network false, config None, at place::ALL;
    "trees" on TCP uses "ls diff rsync tar find mkfs.fat": "copy a tree with cp, rsync --checksum (there and back) and tar (both ways), compare, measure, find and remove it";
    "project" on TCP uses "git make gcc ar ls mkfs.fat": "clone a repository, check and change it; build what is in it by make -j4, and run it";
    "database" on SERVERS uses "sqlite3 python3 mkfs.fat": "keep a database of sqlite3 by a rollback journal and by WAL, with four writers at once, mapped too, and check it";
}
