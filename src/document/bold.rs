//! Which glyphs are bold. Type 1 fonts and fonts that are not embedded do not tell their name
//! when they draw, so every bold one a page names is drawn once into nothing and its glyphs
//! remembered.

use std::collections::HashSet;
use std::fmt::Write;

use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::kurbo::{Affine, BezPath, Rect};
use hayro_interpret::{
    BlendMode, CacheKey, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps,
    InterpreterCache, InterpreterSettings, SoftMask, interpret,
};
use hayro_syntax::content::TypedIter;
use hayro_syntax::object::{Dict, Name, Stream};
use hayro_syntax::page::{Page, Resources};

/// Forms inside forms are looked into so deep.
const DEPTH: usize = 3;
const MAX_FONTS: usize = 256;

/// The glyphs of bold simple fonts seen so far in one document.
#[derive(Debug, Default)]
pub struct BoldGlyphs {
    glyphs: HashSet<u128>,
    seen: HashSet<u128>,
}

impl BoldGlyphs {
    /// Learns the bold fonts of a page.
    pub fn learn<'a>(&mut self, page: &Page<'a>, cache: &InterpreterCache<'a>) {
        let mut context = Context::new(
            Affine::IDENTITY,
            Rect::new(0.0, 0.0, 1.0, 1.0),
            cache,
            page.xref(),
            InterpreterSettings::default(),
        );
        self.learn_from(page.resources(), &mut context, DEPTH);
    }

    fn learn_from<'a>(
        &mut self,
        resources: &Resources<'a>,
        context: &mut Context<'a>,
        depth: usize,
    ) {
        for name in resources.fonts.keys() {
            let Some(font) = resources.fonts.get::<Dict<'_>>(name.as_ref()) else {
                continue;
            };
            if self.seen.len() < MAX_FONTS && self.seen.insert(font.cache_key()) && is_bold(&font) {
                interpret(
                    TypedIter::new(every_code(&name).as_bytes()),
                    resources,
                    context,
                    &mut Learner(&mut self.glyphs),
                );
            }
        }
        if depth == 0 {
            return;
        }
        for name in resources.x_objects.keys() {
            let form = resources.x_objects.get::<Stream<'_>>(name.as_ref());
            let inner = form.and_then(|form| form.dict().get::<Dict<'_>>(b"Resources"));
            if let Some(inner) = inner
                && self.seen.insert(inner.cache_key())
                && self.seen.len() < MAX_FONTS
            {
                self.learn_from(&Resources::new(inner), context, depth - 1);
            }
        }
    }

    pub fn contain(&self, glyph: &Glyph<'_>) -> bool {
        match glyph {
            Glyph::Outline(outline) => {
                !self.glyphs.is_empty() && self.glyphs.contains(&outline.identifier().cache_key())
            }
            Glyph::Type3(_) => false,
        }
    }
}

fn is_bold(font: &Dict<'_>) -> bool {
    let is_simple = font
        .get::<Name<'_>>(b"Subtype")
        .is_some_and(|subtype| matches!(subtype.as_str(), "Type1" | "MMType1" | "TrueType"));
    is_simple
        && font
            .get::<Name<'_>>(b"BaseFont")
            .is_some_and(|name| is_bold_name(name.as_str()))
}

/// Whether a font's name says that it is bold, as in `Arial-BoldMT`, `CMBX10`.
pub fn is_bold_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["bold", "black", "heavy", "demi", "cmbx", "sfbx"]
        .iter()
        .any(|part| name.contains(part))
}

/// A content stream that shows all 256 codes of a font.
fn every_code(font: &Name<'_>) -> String {
    let mut stream = String::from("BT /");
    for byte in font.as_ref() {
        let _ = write!(stream, "#{byte:02x}");
    }
    stream.push_str(" 1 Tf <");
    for code in 0..=u8::MAX {
        let _ = write!(stream, "{code:02x}");
    }
    stream.push_str("> Tj ET");
    stream
}

struct Learner<'s>(&'s mut HashSet<u128>);

impl<'a> Device<'a> for Learner<'_> {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, _: DrawProps<'a>, _: &DrawMode) {
        let outlines = run.glyphs().iter().filter_map(|glyph| match &**glyph {
            Glyph::Outline(outline) => Some(outline.identifier().cache_key()),
            Glyph::Type3(_) => None,
        });
        self.0.extend(outlines);
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
