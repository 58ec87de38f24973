//! What is drawn on a PDF page: characters with their places, rulings, pictures.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::hayro_cmap::{BfString, WritingMode};
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect, Shape, Vec2};
use hayro_interpret::{
    BlendMode, ClipPath, Device, DrawMode, DrawProps, Image, ImageDrawProps, Paint, SoftMask,
};

use super::bold::{BoldGlyphs, is_bold_name};
use super::letters::plain;
use super::rulings::Rulings;

/// A character as drawn. Places are points from the top left of the page as it is seen.
#[derive(Debug, Clone, Copy)]
pub struct Character {
    pub char: char,
    /// Where the baseline begins.
    pub origin: Point,
    /// From the origin to where the next character would begin.
    pub advance: Vec2,
    /// Height of the em box, points.
    pub size: f32,
    pub bold: bool,
    /// Cut off by a clip: seen in part or not at all.
    pub clipped: bool,
    /// Number of the string it was drawn with.
    pub run: u32,
    /// Number of the clip it was drawn in; generators of tables clip each cell by itself.
    pub cell: u32,
}

/// Everything one page draws that reading needs.
#[derive(Debug, Default)]
pub struct Content {
    pub glyphs: Vec<Character>,
    pub rules: Rulings,
    /// Whether there are pictures or drawings.
    pub pictures: bool,
    /// Whether pictures take so much of the page that they may say something: more than a logo.
    pub covered: bool,
    /// Whether there are characters without a known Unicode value.
    pub unmapped: bool,
}

/// Which limit was reached. Thrown through the interpreter, which has no way to be stopped.
#[derive(Debug, Clone, Copy)]
pub enum Exceeded {
    Glyphs,
    PageGlyphs,
    Time,
}

/// What all pages of a document together may cost.
#[derive(Debug)]
pub struct Budget {
    glyphs: AtomicUsize,
    max_glyphs: usize,
    max_page_glyphs: usize,
    deadline: Instant,
}

impl Budget {
    pub fn new(max_glyphs: usize, max_page_glyphs: usize, deadline: Instant) -> Self {
        Self {
            glyphs: AtomicUsize::new(0),
            max_glyphs,
            max_page_glyphs,
            deadline,
        }
    }

    fn look_at_the_clock(&self) {
        if Instant::now() > self.deadline {
            resume_unwind(Box::new(Exceeded::Time));
        }
    }
}

/// Collects the content of one page.
pub struct Collector<'b> {
    budget: &'b Budget,
    bold: &'b BoldGlyphs,
    page: Rect,
    /// The clips in force, innermost last, each with its number.
    clips: Vec<(Rect, u32)>,
    numbers: HashMap<[i32; 4], u32>,
    visible: Vec<Character>,
    hidden: Vec<Character>,
    rules: Rulings,
    calls: u32,
    runs: u32,
    drawings: bool,
    unmapped: bool,
    picture_area: f64,
}

/// How many calls pass between two looks at the clock.
const CALLS_PER_LOOK: u32 = 256;
/// Ligatures by `ToUnicode` are short; a longer text for one glyph is a mistake or an attack.
const MAX_CHARS_PER_GLYPH: usize = 32;

impl<'b> Collector<'b> {
    pub fn new(budget: &'b Budget, bold: &'b BoldGlyphs, page: Rect) -> Self {
        budget.look_at_the_clock();
        Self {
            budget,
            bold,
            page,
            clips: vec![(page, 0)],
            numbers: HashMap::new(),
            visible: Vec::new(),
            hidden: Vec::new(),
            rules: Rulings::default(),
            calls: 0,
            runs: 0,
            drawings: false,
            unmapped: false,
            picture_area: 0.0,
        }
    }

    pub fn finish(self) -> Content {
        let scanned =
            self.picture_area > 0.5 * self.page.area() && self.hidden.len() > self.visible.len();
        let mut glyphs = self.visible;
        // Hidden text is the text layer of a scan, or nothing a reader of the page can see.
        if glyphs.is_empty() || scanned {
            glyphs.extend(self.hidden);
        }
        Content {
            glyphs,
            rules: self.rules,
            pictures: self.picture_area > 0.0 || self.drawings,
            covered: self.picture_area > 0.1 * self.page.area(),
            unmapped: self.unmapped,
        }
    }

    fn clip(&self) -> Rect {
        self.clips.last().map_or(self.page, |(clip, _)| *clip)
    }

    /// Every callback passes here, so that no content stream can run on for ever.
    fn tick(&mut self) {
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(CALLS_PER_LOOK) {
            self.budget.look_at_the_clock();
        }
    }

    fn count_glyphs(&mut self, count: usize) {
        let total = self.budget.glyphs.fetch_add(count, Ordering::Relaxed) + count;
        if total > self.budget.max_glyphs {
            resume_unwind(Box::new(Exceeded::Glyphs));
        }
        if self.visible.len() + self.hidden.len() + count > self.budget.max_page_glyphs {
            resume_unwind(Box::new(Exceeded::PageGlyphs));
        }
    }

    fn place(&mut self, glyph: &Placed, text: &str, hidden: bool) {
        let (clip, cell) = self.clips.last().copied().unwrap_or((self.page, 0));
        let letters = || text.chars().flat_map(plain).take(MAX_CHARS_PER_GLYPH);
        let count = letters().count();
        self.count_glyphs(count.saturating_sub(1));
        let step = glyph.advance / count as f64;
        for (at, char) in letters().enumerate() {
            let origin = glyph.origin + step * at as f64;
            let centre = origin + step * 0.5 + glyph.up * 0.3;
            let character = Character {
                char,
                origin,
                advance: step,
                size: glyph.up.hypot() as f32,
                bold: glyph.bold,
                clipped: !clip.contains(centre),
                run: self.runs,
                cell,
            };
            if hidden {
                self.hidden.push(character);
            } else {
                self.visible.push(character);
            }
        }
    }
}

/// A glyph in page space before its text is looked at.
struct Placed {
    origin: Point,
    advance: Vec2,
    up: Vec2,
    bold: bool,
}

impl Placed {
    fn new(transform: Affine, advance: f64, style: &Style) -> Option<Self> {
        let origin = transform * Point::ZERO;
        let (right, above) = axes(transform);
        let length = right.hypot();
        // The part of the em height that stands square on the baseline: slanted text is not taller.
        let across = Vec2::new(-right.y, right.x) / length;
        let up = across * across.dot(above);
        let (advance, up) = match style.mode {
            WritingMode::Horizontal => (right * (advance * style.unstretched / length), up),
            WritingMode::Vertical => (-above, right * 1000.0),
        };
        let finite = |v: Vec2| v.x.is_finite() && v.y.is_finite();
        (finite(origin.to_vec2()) && finite(advance) && finite(up) && up.hypot() > 0.01).then_some(
            Self {
                origin,
                advance,
                up,
                bold: style.bold,
            },
        )
    }
}

/// The image of one glyph unit to the right, and of one em up.
fn axes(transform: Affine) -> (Vec2, Vec2) {
    let [a, b, c, d, _, _] = transform.as_coeffs();
    (Vec2::new(a, b), Vec2::new(c, d) * 1000.0)
}

/// What the glyphs of one run share.
struct Style {
    bold: bool,
    mode: WritingMode,
    /// Length of one glyph unit along the baseline, points.
    unstretched: f64,
}

impl Style {
    fn new(run: &GlyphRun<'_, '_>, transform: Affine, known: &BoldGlyphs) -> Self {
        let font = run.glyphs().iter().find_map(|glyph| match &**glyph {
            Glyph::Outline(outline) => Some(outline.font_data()),
            Glyph::Type3(_) => None,
        });
        let bold = font.iter().flatten().any(|font| {
            font.weight.is_some_and(|weight| weight >= 600)
                || font.postscript_name.as_deref().is_some_and(is_bold_name)
        });
        // A string may begin with a letter the font lacks, which all fonts draw alike.
        let mut letters = run.glyphs().iter().take(3);
        Self {
            bold: bold || letters.any(|glyph| known.contain(glyph)),
            mode: run.writing_mode(),
            unstretched: unstretched(run, transform, font.flatten().is_some()),
        }
    }
}

/// Length of one glyph unit along the baseline, before any stretch.
///
/// A font that is not embedded is replaced, and each of its glyphs stretched to the width the
/// file states. Advances are in the file's widths, so the stretch must not count twice. It is
/// not told apart from scaled text, only seen: in one string, only it differs by letter.
fn unstretched(run: &GlyphRun<'_, '_>, transform: Affine, embedded: bool) -> f64 {
    const SAME: f64 = 0.01;
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < SAME;
    let mut lengths = Vec::with_capacity(run.glyphs().len());
    let mut steps = Vec::new();
    let mut height = 1.0;
    let mut last: Option<(Point, f64)> = None;
    for glyph in run.glyphs() {
        let transform = transform * glyph.transform();
        let (right, above) = axes(transform);
        let origin = transform * Point::ZERO;
        if let Some((before, advance)) = last.filter(|(_, advance)| *advance > 0.0) {
            steps.push((origin - before).hypot() / advance);
        }
        last = Some((origin, advance_width(glyph)));
        lengths.push(right.hypot());
        height = above.hypot() / 1000.0;
    }
    let (Some(length), step) = (median(&mut lengths), median(&mut steps)) else {
        return height;
    };
    let uniform = lengths.iter().all(|other| near(*other, length));
    match step {
        Some(step) if near(step, height) => height,
        Some(step) if !uniform => step,
        // One letter alone: scaled text is the rarer case.
        None if !embedded => height,
        _ => length,
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// In thousandths of the font size.
fn advance_width(glyph: &Glyph<'_>) -> f64 {
    let width = match glyph {
        Glyph::Outline(outline) => outline.advance_width(),
        Glyph::Type3(type3) => type3.advance_width(),
    };
    f64::from(width.unwrap_or(500.0))
}

impl<'a> Device<'a> for Collector<'_> {
    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, draw_mode: &DrawMode) {
        self.tick();
        self.drawings = true;
        self.rules
            .path(path, props.transform, draw_mode, self.clip());
    }

    fn draw_rect(&mut self, rect: &Rect, props: DrawProps<'a>, draw_mode: &DrawMode) {
        self.tick();
        self.drawings = true;
        self.rules
            .rect(*rect, props.transform, draw_mode, self.clip());
    }

    fn push_clip_path(&mut self, clip_path: &ClipPath) {
        self.tick();
        self.push_clip_rect(&clip_path.path.bounding_box());
    }

    fn push_clip_rect(&mut self, rect: &Rect) {
        let clip = self.clip().intersect(*rect);
        let edges = [clip.x0, clip.y0, clip.x1, clip.y1].map(|edge| edge.round() as i32);
        let next = self.numbers.len() as u32 + 1;
        let number = *self.numbers.entry(edges).or_insert(next);
        self.clips.push((clip, number));
    }

    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}

    fn draw_glyph_run(
        &mut self,
        glyph_run: &GlyphRun<'_, 'a>,
        props: DrawProps<'a>,
        draw_mode: &DrawMode,
    ) {
        self.tick();
        self.count_glyphs(glyph_run.glyphs().len());
        let transparent =
            matches!(&props.paint, Paint::Color(color) if color.to_rgba().components()[3] == 0.0);
        let hidden = transparent || matches!(draw_mode, DrawMode::Invisible);
        self.runs += 1;
        let style = Style::new(glyph_run, props.transform, self.bold);
        for glyph in glyph_run.glyphs() {
            let transform = props.transform * glyph.transform();
            let Some(placed) = Placed::new(transform, advance_width(glyph), &style) else {
                continue;
            };
            match glyph.as_unicode() {
                Some(BfString::Char(char)) => {
                    self.place(&placed, char.encode_utf8(&mut [0; 4]), hidden);
                }
                Some(BfString::String(text)) => self.place(&placed, &text, hidden),
                None => {
                    self.unmapped = true;
                    self.place(&placed, "\u{fffd}", hidden);
                }
            }
        }
    }

    fn draw_image(&mut self, _: Image<'a, '_>, props: ImageDrawProps<'a>) {
        self.tick();
        let drawn = (props.transform * Rect::new(0.0, 0.0, 1.0, 1.0).to_path(0.1)).bounding_box();
        self.picture_area += drawn.intersect(self.clip()).area().max(f64::MIN_POSITIVE);
    }

    fn pop_clip(&mut self) {
        if self.clips.len() > 1 {
            self.clips.pop();
        }
    }

    fn pop_transparency_group(&mut self) {}
}
