//! Straight lines on a page: strokes, thin filled boxes, borders of stroked boxes.

use hayro_interpret::DrawMode;
use hayro_interpret::kurbo::{Affine, BezPath, PathEl, Point, Rect};

use crate::domain::document::Rule;

const MAX_RULES: usize = 10_000;
/// Pieces as drawn, before they are joined: dashed and dotted lines come in many.
const MAX_PIECES: usize = 100_000;
/// A filled box no thicker than this is a line, points.
const THICKEST: f64 = 3.0;
/// A line at least this long rules something, points.
const SHORTEST: f64 = 6.0;

/// The rulings of one page, in page space.
#[derive(Debug, Default)]
pub struct Rulings {
    lines: Vec<Rect>,
}

impl Rulings {
    pub fn rect(&mut self, rect: Rect, transform: Affine, mode: &DrawMode, clip: Rect) {
        let corners = [
            Point::new(rect.x0, rect.y0),
            Point::new(rect.x1, rect.y0),
            Point::new(rect.x1, rect.y1),
            Point::new(rect.x0, rect.y1),
        ]
        .map(|corner| transform * corner);
        match mode {
            DrawMode::Fill(_) => {
                let bounds = Rect::from_points(corners[0], corners[2]);
                let upright = Rect::from_points(corners[1], corners[3]);
                self.filled(Some(bounds.union(upright)), clip);
            }
            DrawMode::Stroke(stroke) | DrawMode::FillAndStroke(_, stroke) => {
                let width = thickness(stroke.line_width, transform);
                for side in 0..4 {
                    self.stroked(corners[side], corners[(side + 1) % 4], width, clip);
                }
            }
            DrawMode::Invisible => {}
        }
    }

    pub fn path(&mut self, path: &BezPath, transform: Affine, mode: &DrawMode, clip: Rect) {
        match mode {
            DrawMode::Fill(_) => self.filled_path(path, transform, clip),
            DrawMode::Stroke(stroke) | DrawMode::FillAndStroke(_, stroke) => {
                let width = thickness(stroke.line_width, transform);
                self.stroked_path(path, transform, width, clip);
            }
            DrawMode::Invisible => {}
        }
    }

    fn stroked_path(&mut self, path: &BezPath, transform: Affine, width: f64, clip: Rect) {
        let (mut start, mut at) = (Point::ZERO, Point::ZERO);
        for element in path.elements() {
            let to = match *element {
                PathEl::MoveTo(to) => {
                    start = to;
                    at = to;
                    continue;
                }
                PathEl::LineTo(to) => to,
                PathEl::ClosePath => start,
                PathEl::QuadTo(_, to) | PathEl::CurveTo(_, _, to) => {
                    at = to;
                    continue;
                }
            };
            self.stroked(transform * at, transform * to, width, clip);
            at = to;
        }
    }

    /// Several thin boxes are often filled as one path, some with mitred corners.
    fn filled_path(&mut self, path: &BezPath, transform: Affine, clip: Rect) {
        let mut outline: Option<Rect> = None;
        for element in path.elements() {
            let to = match *element {
                PathEl::MoveTo(to) => {
                    self.filled(outline.take(), clip);
                    let to = transform * to;
                    outline = Some(Rect::from_points(to, to));
                    continue;
                }
                PathEl::LineTo(to) => transform * to,
                PathEl::ClosePath => continue,
                // Round shapes rule nothing: letters are drawn so, too.
                PathEl::QuadTo(..) | PathEl::CurveTo(..) => {
                    outline = None;
                    continue;
                }
            };
            outline = outline.map(|outline| outline.union_pt(to));
        }
        self.filled(outline, clip);
    }

    fn filled(&mut self, outline: Option<Rect>, clip: Rect) {
        if let Some(bounds) = outline
            && bounds.width().min(bounds.height()) <= THICKEST
        {
            self.push(bounds, clip);
        }
    }

    fn stroked(&mut self, from: Point, to: Point, width: f64, clip: Rect) {
        let half = width.min(THICKEST) / 2.0;
        let line = Rect::from_points(from, to);
        if line.height() < 0.5 {
            self.push(line.inflate(0.0, half), clip);
        } else if line.width() < 0.5 {
            self.push(line.inflate(half, 0.0), clip);
        }
    }

    fn push(&mut self, line: Rect, clip: Rect) {
        let line = line.intersect(clip);
        let seen = line.width().max(line.height()) > 0.0;
        if seen && line.is_finite() && self.lines.len() < MAX_PIECES {
            self.lines.push(line);
        }
    }

    /// Whole lines, from top to bottom and from left to right, in points.
    pub fn into_lines(self) -> Vec<Rect> {
        let (mut lines, down): (Vec<_>, Vec<_>) = self
            .lines
            .into_iter()
            .partition(|line| line.width() >= line.height());
        // A dot is as wide as high; by itself it says nothing about its line's direction.
        let dots = lines
            .iter()
            .filter(|line| line.width() < 2.0 * line.height());
        let down = down.into_iter().chain(dots.copied()).map(turned).collect();
        lines = joined(lines);
        lines.extend(joined(down).into_iter().map(turned));
        lines.retain(|line| line.width().max(line.height()) >= SHORTEST);
        lines.truncate(MAX_RULES);
        lines.sort_by(|a, b| a.y0.total_cmp(&b.y0).then(a.x0.total_cmp(&b.x0)));
        lines
    }
}

/// A line as a fraction box.
pub fn rule(line: &Rect, width: f32, height: f32) -> Rule {
    let fraction = |at: f64, of: f32| (at / f64::from(of)).clamp(0.0, 1.0) as f32;
    Rule {
        bbox: [
            fraction(line.x0, width),
            fraction(line.y0, height),
            fraction(line.x1, width),
            fraction(line.y1, height),
        ],
    }
}

fn turned(line: Rect) -> Rect {
    Rect::new(line.y0, line.x0, line.y1, line.x1)
}

/// Joins horizontal pieces on one height that touch.
fn joined(mut pieces: Vec<Rect>) -> Vec<Rect> {
    const SAME_HEIGHT: f64 = 1.0;
    const NEAR: f64 = 1.0;
    let level = |line: &Rect| (line.center().y / SAME_HEIGHT).round();
    pieces.sort_by(|a, b| level(a).total_cmp(&level(b)).then(a.x0.total_cmp(&b.x0)));
    let mut lines: Vec<Rect> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line)
                if (line.center().y - piece.center().y).abs() <= SAME_HEIGHT
                    && piece.x0 - line.x1 <= NEAR =>
            {
                *line = line.union(piece);
            }
            _ => lines.push(piece),
        }
    }
    lines
}

fn thickness(line_width: f32, transform: Affine) -> f64 {
    (f64::from(line_width) * transform.determinant().abs().sqrt()).clamp(0.2, THICKEST)
}
