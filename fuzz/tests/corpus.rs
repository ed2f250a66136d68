//! The kept corpus, and every input that once broke something, through every target: no panic, and no more memory than
//! the limits allow.

#![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

use std::path::{Path, PathBuf};

use peak_alloc::PeakAlloc;
use tidemark_fuzz::TARGETS;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Inputs are a few kilobytes; whoever takes more than this for one believes a length that it was told.
const BYTES_MAX: usize = 16 << 20;

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

// One test: the memory of another one beside it would be counted too.
#[test]
fn the_kept_corpus_breaks_nothing() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, target) in TARGETS {
        let mut files = inputs(&here.join("corpus").join(name));
        assert!(!files.is_empty(), "{name} has no corpus");
        files.extend(inputs(&here.join("regressions").join(name)));
        // What a target keeps from one input to the next is there before the first is measured.
        target(&std::fs::read(&files[0]).unwrap());
        let mut most = 0;
        for file in &files {
            let input = std::fs::read(file).unwrap();
            println!("{}", file.display());
            MEMORY.reset_peak_usage();
            let before = MEMORY.current_usage();
            target(&input);
            let taken = MEMORY.peak_usage() - before;
            assert!(taken <= BYTES_MAX, "{}: {} bytes took {taken} bytes of memory", file.display(), input.len());
            most = most.max(taken);
        }
        println!("{name}: {} inputs, at most {} KiB of memory for one", files.len(), most >> 10);
    }
}
