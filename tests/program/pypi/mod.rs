//! What is looked at by programs of PyPI, in the environment that `scripts/test` makes below `target/`.

mod openapi;
mod recipes;

use std::path::Path;
use std::process::Command;

use crate::programs::program;

/// A program of the environment.
fn installed(name: &str) -> Command {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pypi/bin").join(name);
    assert!(path.exists(), "{} is missing; scripts/test installs it", path.display());
    program(path)
}
