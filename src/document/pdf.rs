//! PDF: opens the file, reads its pages side by side, and says what is wrong in our words.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use hayro_interpret::{
    Context, InterpreterCache, InterpreterSettings, TransformExt, interpret_page,
};
use hayro_syntax::object::dict::keys;
use hayro_syntax::object::{Array, Dict, Stream};
use hayro_syntax::{DecryptionError, LoadPdfError, Pdf};

use super::bold::BoldGlyphs;
use super::content::{Budget, Collector, Content, Exceeded};
use super::{rulings, words};
use crate::domain::document::Page;
use crate::domain::error::{Code, Error};

/// What one document may cost.
#[derive(Debug, Clone, Copy)]
struct Limits {
    pages: usize,
    glyphs: usize,
    page_glyphs: usize,
    time: Duration,
}

const LIMITS: Limits = Limits {
    pages: 2_000,
    glyphs: 20_000_000,
    page_glyphs: 1_000_000,
    time: Duration::from_mins(1),
};
/// Parsing recurses into nested objects and forms; the usual 2 MiB of a thread are too few.
const STACK_BYTES: usize = 32 << 20;
/// A thread more pays only from about this many pages on.
const PAGES_PER_THREAD: usize = 4;

/// The pages of a PDF file, and the numbers of those that have no words and something else to read:
/// a picture, or letters of which nobody says what they are.
pub fn read(bytes: &[u8]) -> Result<(Vec<Page>, Vec<u32>), Error> {
    read_within(bytes, LIMITS)
}

fn read_within(bytes: &[u8], limits: Limits) -> Result<(Vec<Page>, Vec<u32>), Error> {
    let deadline = Instant::now() + limits.time;
    let data = bytes.to_vec();
    let outcome = thread::scope(|scope| {
        thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || {
                let pdf = guard(|| Pdf::new(data).map_err(load_error))??;
                read_pages(&pdf, limits, deadline)
            })
            .map_err(|_| Error::internal())?
            .join()
            .map_err(|_| corrupt("its structure"))?
    })?;
    let blind = outcome.iter().filter(|read| read.is_blind());
    let blind = blind.map(|read| read.page.number).collect();
    Ok((into_pages(outcome)?, blind))
}

/// What one page gave.
struct PageRead {
    page: Page,
    pictures: bool,
    covered: bool,
    unmapped: bool,
}

impl PageRead {
    fn is_blind(&self) -> bool {
        self.page.words.is_empty() && (self.covered || self.unmapped)
    }
}

fn read_pages(pdf: &Pdf, limits: Limits, deadline: Instant) -> Result<Vec<PageRead>, Error> {
    let count = guard(|| pdf.pages().len())?;
    if count == 0 {
        return Err(if guard(|| counts_pages(pdf))? {
            corrupt("its page tree")
        } else {
            Error::new(
                Code::DocumentEmpty,
                "The PDF has no pages. Upload a file with at least one page.",
            )
        });
    }
    if count > limits.pages {
        return Err(Error::new(
            Code::DocumentTooComplex,
            format!(
                "The PDF has {count} pages, the limit is {}. Split it into smaller files.",
                limits.pages
            ),
        ));
    }
    let cores = available_parallelism().map_or(1, usize::from);
    let work = Work {
        pdf,
        limits,
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        budget: Budget::new(limits.glyphs, limits.page_glyphs, deadline),
        done: Mutex::new((0..count).map(|_| None).collect()),
    };
    let extra = cores.min(count.div_ceil(PAGES_PER_THREAD)) - 1;
    let first_error = thread::scope(|scope| {
        let others: Vec<_> = (0..extra)
            .filter_map(|_| {
                thread::Builder::new()
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, || work.run(count))
                    .ok()
            })
            .collect();
        let mut result = work.run(count);
        for other in others {
            result = result.and(other.join().unwrap_or_else(|_| Err(corrupt("its pages"))));
        }
        result
    });
    first_error?;
    let pages = work.done.into_inner().unwrap_or_default();
    Ok(pages.into_iter().flatten().collect())
}

/// The pages still to read, shared by the threads that take them one at a time.
struct Work<'a> {
    pdf: &'a Pdf,
    limits: Limits,
    next: AtomicUsize,
    failed: AtomicBool,
    budget: Budget,
    done: Mutex<Vec<Option<PageRead>>>,
}

impl Work<'_> {
    fn run(&self, count: usize) -> Result<(), Error> {
        // Fonts are shared by the pages a thread reads; the cache cannot cross threads.
        let cache = InterpreterCache::new();
        let mut bold = BoldGlyphs::default();
        while !self.failed.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            match self.page(index, &cache, &mut bold) {
                Ok(page) => {
                    if let Ok(mut done) = self.done.lock() {
                        done[index] = Some(page);
                    }
                }
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn page<'a>(
        &'a self,
        index: usize,
        cache: &InterpreterCache<'a>,
        bold: &mut BoldGlyphs,
    ) -> Result<PageRead, Error> {
        let number = index as u32 + 1;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let page = &self.pdf.pages()[index];
            if has_lost_content(page) {
                return None;
            }
            let (width, height) = page.render_dimensions();
            let bounds = hayro_interpret::kurbo::Rect::new(0.0, 0.0, width.into(), height.into());
            let mut context = Context::new(
                page.initial_transform(true).to_kurbo(),
                bounds,
                cache,
                self.pdf.xref(),
                InterpreterSettings::default(),
            );
            bold.learn(page, cache);
            let mut collector = Collector::new(&self.budget, bold, bounds);
            interpret_page(page, &mut context, &mut collector);
            Some(to_page(number, width, height, collector.finish()))
        }));
        match caught {
            Ok(read) => read.ok_or_else(|| corrupt(&format!("the content of page {number}"))),
            Err(panic) => Err(match panic.downcast_ref::<Exceeded>() {
                Some(exceeded) => too_complex(number, *exceeded, self.limits),
                None => corrupt(&format!("page {number}")),
            }),
        }
    }
}

/// Whether the page tree claims pages.
fn counts_pages(pdf: &Pdf) -> bool {
    let catalog = pdf.xref().get::<Dict<'_>>(pdf.xref().root_id());
    let tree = catalog.and_then(|catalog| catalog.get::<Dict<'_>>(keys::PAGES));
    let count = tree.and_then(|tree| tree.get::<i32>(keys::COUNT));
    count.is_some_and(|count| count > 0)
}

/// Whether a page names content that is not there or cannot be decoded. Read as a blank page it
/// would lose values without a word.
fn has_lost_content(page: &hayro_syntax::page::Page<'_>) -> bool {
    let dict = page.raw();
    let is_lost = |part: &Stream<'_>| match part.decoded_data() {
        Ok(decoded) => decoded.is_empty() && !part.raw_data().is_empty(),
        Err(_) => true,
    };
    if let Some(stream) = dict.get::<Stream<'_>>(keys::CONTENTS) {
        is_lost(&stream)
    } else if let Some(parts) = dict.get::<Array<'_>>(keys::CONTENTS) {
        let found = parts.iter::<Stream<'_>>().filter(|part| !is_lost(part));
        parts.raw_iter().count() != found.count()
    } else {
        dict.get_ref(keys::CONTENTS).is_some()
    }
}

fn to_page(number: u32, width: f32, height: f32, content: Content) -> PageRead {
    let Content {
        glyphs,
        rules,
        pictures,
        covered,
        unmapped,
    } = content;
    let rulings = rules.into_lines();
    let lines = words::assemble(glyphs, &rulings, width, height);
    let rules = rulings
        .iter()
        .map(|line| rulings::rule(line, width, height));
    PageRead {
        page: Page::from_lines(number, width, height, lines, rules.collect()),
        pictures,
        covered,
        unmapped,
    }
}

fn into_pages(read: Vec<PageRead>) -> Result<Vec<Page>, Error> {
    if read.iter().any(|read| !read.page.words.is_empty()) {
        return Ok(read.into_iter().map(|read| read.page).collect());
    }
    // Only a model that sees can read letters without Unicode values, pictures and drawings.
    if read.iter().any(|read| read.pictures || read.unmapped) {
        return Ok(read.into_iter().map(|read| read.page).collect());
    }
    Err(Error::new(
        Code::DocumentEmpty,
        match read.len() {
            1 => "The only page of the PDF is blank. Upload a file with content.".to_owned(),
            count => {
                format!("All {count} pages of the PDF are blank. Upload a file with content.")
            }
        },
    ))
}

/// Runs foreign code; a panic in it means that the file is broken in a way it did not expect.
fn guard<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_: Box<dyn Any + Send>| corrupt("its structure"))
}

fn load_error(error: LoadPdfError) -> Error {
    match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => Error::new(
            Code::PasswordRequired,
            "The PDF is encrypted and opens only with a password. Remove the password and upload \
             the file again.",
        ),
        LoadPdfError::Decryption(DecryptionError::UnsupportedAlgorithm) => Error::new(
            Code::PasswordRequired,
            "The PDF is encrypted in a way that is not read here (standard password encryption \
             is). Remove the encryption and upload the file again.",
        ),
        LoadPdfError::Decryption(
            DecryptionError::MissingIDEntry | DecryptionError::InvalidEncryption,
        ) => corrupt("its encryption dictionary"),
        LoadPdfError::Invalid => corrupt("its structure"),
    }
}

fn corrupt(what: &str) -> Error {
    Error::new(
        Code::DocumentCorrupt,
        format!(
            "The file begins as a PDF but {what} cannot be read. Open it in a PDF viewer, save it \
             again and upload the new file."
        ),
    )
}

fn too_complex(number: u32, exceeded: Exceeded, limits: Limits) -> Error {
    let limit = match exceeded {
        Exceeded::Glyphs => format!("the PDF draws more than {} characters", limits.glyphs),
        Exceeded::PageGlyphs => {
            format!(
                "page {number} draws more than {} characters",
                limits.page_glyphs
            )
        }
        Exceeded::Time => format!(
            "reading it took longer than {} seconds",
            limits.time.as_secs()
        ),
    };
    Error::new(
        Code::DocumentTooComplex,
        format!("The document is over a limit: {limit}. Split it into smaller files."),
    )
}

#[cfg(test)]
mod tests;
