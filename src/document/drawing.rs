//! Pictures of the pages of a PDF.
//!
//! To draw decodes whatever a stranger has put into the file, with a library that knows no limit
//! of time or memory: nobody calls this but a process that may be ended, see
//! [`sandbox`](super::sandbox).

use std::io::{self, Write};

use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_syntax::Pdf;
use hayro::hayro_syntax::page::Page;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings, render};

/// Pixels of the longer side, about 150 to the inch on A4: small print can be read, and of more
/// than 2000 some providers refuse or shrink pictures.
const LONG_SIDE: f32 = 1_800.0;
/// A small page is not drawn larger than this many pixels to the point.
const MOST_SCALE: f32 = 4.0;
/// How much smaller a picture is drawn that has too many bytes, and how often.
const SHRINK: f32 = 0.7;
const MOST_SHRINKS: usize = 6;

/// Writes a PNG of each page, its length before it as four bytes, the highest first. Ends early,
/// with an error, at a page that cannot be drawn or not within `most_bytes`.
pub fn draw(pdf: Vec<u8>, most_bytes: u64, out: &mut impl Write) -> io::Result<()> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let pdf = Pdf::new(pdf).map_err(|_| broken("no PDF"))?;
    let cache = RenderCache::new();
    for page in pdf.pages().iter() {
        let png = drawn(page, &cache, most_bytes).ok_or_else(|| broken("a page"))?;
        let length = u32::try_from(png.len()).map_err(|_| broken("a large page"))?;
        out.write_all(&length.to_be_bytes())?;
        out.write_all(&png)?;
    }
    out.flush()
}

fn drawn<'a>(page: &'a Page<'a>, cache: &RenderCache<'a>, most_bytes: u64) -> Option<Vec<u8>> {
    let (width, height) = page.render_dimensions();
    let mut scale = (LONG_SIDE / width.max(height)).min(MOST_SCALE);
    for _ in 0..MOST_SHRINKS {
        let pixmap = PixmapSettings {
            // A page may be a line: it keeps a pixel.
            x_scale: scale.max(1.0 / width),
            y_scale: scale.max(1.0 / height),
            bg_color: WHITE,
        };
        let settings = InterpreterSettings::default();
        let drawn = render(page, cache, &settings, &RenderSettings::default(), &pixmap);
        let png = drawn.into_png().ok()?;
        if png.len() as u64 <= most_bytes {
            return Some(png);
        }
        scale *= SHRINK;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(most_bytes: u64) -> Option<Vec<Vec<u8>>> {
        let bytes = include_bytes!("../../tests/fixtures/documents/tabula-voting-record.pdf");
        let mut out = Vec::new();
        draw(bytes.to_vec(), most_bytes, &mut out).ok()?;
        let (mut rest, mut found) = (&out[..], Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (png, next) = after.split_at(u32::from_be_bytes(*length) as usize);
            found.push(png.to_vec());
            rest = next;
        }
        Some(found)
    }

    fn long_side(png: &[u8]) -> u32 {
        let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        side(16).max(side(20))
    }

    #[test]
    fn a_page_is_drawn_as_large_as_its_bytes_may_be() {
        let large = pictures(10_000_000).unwrap();
        assert!(large[0].starts_with(b"\x89PNG"));
        assert!((1_790..=1_800).contains(&long_side(&large[0])));
        let most = large[0].len() as u64 - 1;
        let small = pictures(most).unwrap();
        assert!((1_200..=1_300).contains(&long_side(&small[0])));
        assert!(small[0].len() as u64 <= most);
        assert_eq!(pictures(100), None);
    }
}
