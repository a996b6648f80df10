//! Programs that work on files.

use super::*;

programs! { "files", network false;
    "dash" on ALL uses "dash": "redirects, substitutes, reads here-documents, globs, traps signals and waits for jobs";
    "git" on UNIX uses "git diff": "initialises, commits, branches, merges, clones, collects garbage and checks a repository";
    "tar" on TCP uses "tar gzip xz zstd diff": "packs and unpacks trees, compressed, with holes and hard links";
}
