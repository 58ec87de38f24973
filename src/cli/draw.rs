//! `draw-pages`: what the server runs apart from itself to make pictures of a PDF.

use std::io::{self, Read as _};
use std::thread;

use super::exit::{Exit, Failure};
use crate::document::drawing;

/// Parsing recurses into nested objects and forms; the usual 2 MiB of a thread are too few.
const STACK_BYTES: usize = 64 << 20;

/// Draw the pages of the PDF on stdin; the server does this in a process of its own
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The most bytes of one picture
    picture_bytes: u64,
}

pub fn run(args: &Args) -> Result<Exit, Failure> {
    let most = args.picture_bytes;
    let drawing = thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let mut pdf = Vec::new();
            io::stdin().lock().read_to_end(&mut pdf)?;
            drawing::draw(pdf, most, &mut io::stdout().lock())
        });
    let failed = |cause: String| Failure::of(Exit::Failed, cause);
    let drawn = drawing
        .map_err(|cause| failed(cause.to_string()))?
        .join()
        .map_err(|_| failed("The file broke what draws it.".to_owned()))?;
    drawn
        .map(|()| Exit::Complete)
        .map_err(|cause| failed(cause.to_string()))
}
