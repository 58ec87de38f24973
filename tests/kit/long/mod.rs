//! Long documents of tables, made from a seed, with exactly what stands in them.
//!
//! Two of the same [`Spec`] are the same, byte for byte. What makes long tables hard to read is
//! switched on by name, so that a reader's figure can be told for each of them.

mod paint;
mod words;

use serde_json::{Value, json};

pub use self::words::Language;
use self::words::Words;

/// Lines of a full page between its margins.
const PAGE_LINES: usize = 56;

/// The fewest, with room for a heading and some rows.
const MIN_PAGE_LINES: usize = 12;

/// What to make.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub seed: u64,
    /// Of the first table; a twin has a quarter of them.
    pub rows: usize,
    pub language: Language,
    /// The header of the table stands on every page, not only on the first.
    pub repeats_header: bool,
    /// After every tenth row, and carried over from page to page.
    pub has_subtotals: bool,
    /// Descriptions of two lines.
    pub wraps_cells: bool,
    /// A second table of the same columns: what was sent back.
    pub has_twin: bool,
    /// Some rows stand there twice, letter by letter.
    pub repeats_rows: bool,
    /// A wrapped row may have its lines on two pages.
    pub breaks_rows: bool,
    /// Rows are numbered.
    pub has_ordinals: bool,
    /// The document says how many rows there are, and their sum.
    pub states_totals: bool,
    /// Lines of a page.
    pub page_lines: usize,
}

impl Spec {
    /// A table with headers on every page and stated totals, and nothing that makes it hard.
    pub fn plain(seed: u64, rows: usize) -> Self {
        Self {
            seed,
            rows,
            language: Language::English,
            repeats_header: true,
            has_subtotals: false,
            wraps_cells: false,
            has_twin: false,
            repeats_rows: false,
            breaks_rows: false,
            has_ordinals: true,
            states_totals: true,
            page_lines: PAGE_LINES,
        }
    }

    /// Everything at once, in one of the languages.
    pub fn hard(seed: u64, rows: usize) -> Self {
        Self {
            language: Language::ALL[seed as usize % Language::ALL.len()],
            repeats_header: seed.is_multiple_of(2),
            has_subtotals: true,
            wraps_cells: true,
            has_twin: true,
            repeats_rows: true,
            breaks_rows: true,
            has_ordinals: seed.is_multiple_of(3),
            states_totals: seed % 4 != 3,
            ..Self::plain(seed, rows)
        }
    }

    /// The same on more pages, each as short as that takes.
    #[must_use]
    pub fn over_pages(self, pages: usize) -> Self {
        let shorter = (MIN_PAGE_LINES..self.page_lines).rev();
        let specs = shorter.map(|page_lines| Self { page_lines, ..self });
        let mut specs = specs.filter(|spec| Document::make(*spec).page_count() >= pages);
        specs.next().expect("so many pages")
    }
}

/// A made document.
pub struct Document {
    spec: Spec,
    pages: Vec<Vec<Line>>,
    rows: Vec<Row>,
    returned: Vec<Row>,
    /// Of each table.
    printed: Vec<Printed>,
    number: String,
    date: Date,
}

/// The lines of each row of a table: index of the page, and of the line among those of the page
/// that are not blank.
pub type Printed = Vec<Vec<(usize, usize)>>;

/// Cells of one printed line, each with its column.
type Line = Vec<(Column, String)>;

/// Where a cell stands. Figures end at the right edge of their column, text begins at the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Margin,
    Ordinal,
    Article,
    Description,
    Quantity,
    Price,
    Total,
}

impl Column {
    /// Characters from the left margin of the edge that it is set by, and whether that is the right
    /// one.
    fn edge(self) -> (usize, bool) {
        match self {
            Self::Margin => (0, false),
            Self::Ordinal => (5, true),
            Self::Article => (7, false),
            Self::Description => (18, false),
            Self::Quantity => (56, true),
            Self::Price => (70, true),
            Self::Total => (86, true),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    article: String,
    description: String,
    quantity: u64,
    /// In cents, as is what they make.
    price: u64,
}

impl Row {
    fn total(&self) -> u64 {
        self.quantity * self.price
    }

    fn truth(&self) -> Value {
        json!({
            "article": self.article,
            "description": self.description,
            "quantity": self.quantity,
            "unit_price": amount(self.price),
            "total": amount(self.total()),
        })
    }
}

/// A figure as JSON has it: whole cents, written with two digits.
fn amount(cents: u64) -> Value {
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    serde_json::from_str(&text).expect("a number")
}

#[derive(Debug, Clone, Copy)]
struct Date {
    year: u64,
    month: u64,
    day: u64,
}

/// Small numbers that look random, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

impl Document {
    pub fn make(spec: Spec) -> Self {
        let mut chance = Chance(spec.seed.wrapping_mul(31).wrapping_add(spec.rows as u64));
        let words = spec.language.words();
        let rows = rows(&spec, &words, &mut chance, spec.rows);
        let twin = if spec.has_twin {
            spec.rows.div_ceil(4)
        } else {
            0
        };
        let returned = rows_of_twin(&spec, &words, &mut chance, twin);
        let mut document = Self {
            spec,
            pages: Vec::new(),
            rows,
            returned,
            printed: Vec::new(),
            number: format!(
                "{}-{}",
                2_020 + chance.below(7),
                10_000 + chance.below(90_000)
            ),
            date: Date {
                year: 2_020 + chance.below(7),
                month: 1 + chance.below(12),
                day: 1 + chance.below(28),
            },
        };
        (document.pages, document.printed) = Setter::new(&document, &words).set();
        document
    }

    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// For each table the lines that each of its rows is printed on.
    pub fn printed(&self) -> &[Printed] {
        &self.printed
    }

    /// Pages of text, parted by form feeds; columns are aligned by spaces.
    pub fn text(&self) -> String {
        paint::text(&self.pages)
    }

    /// A PDF with a text layer in a font of even width.
    pub fn pdf(&self) -> Vec<u8> {
        paint::pdf(&self.pages)
    }

    /// What is to be read from it.
    pub fn schema(&self) -> Value {
        let row = |what: &str| {
            json!({
                "type": "array",
                "description": what,
                "items": {
                    "type": "object",
                    "properties": {
                        "article": {"type": "string", "description": "Article number"},
                        "description": {"type": "string", "description": "Description of the goods"},
                        "quantity": {"type": "integer", "description": "Quantity"},
                        "unit_price": {"type": "number", "description": "Price of one"},
                        "total": {"type": "number", "description": "Price of the line"},
                    },
                    "required": ["article", "description", "quantity", "unit_price", "total"],
                },
            })
        };
        let mut schema = json!({
            "type": "object",
            "properties": {
                "delivery_number": {"type": "string", "description": "Number of the delivery"},
                "delivery_date": {"type": "string", "format": "date", "description": "Day of the delivery"},
                "items": row("Goods that were delivered, one item a row"),
            },
        });
        if self.spec.has_twin {
            schema["properties"]["returned_items"] =
                row("Goods that were sent back, one item a row");
        }
        schema
    }

    /// Valid under the schema.
    pub fn truth(&self) -> Value {
        let rows = |rows: &[Row]| rows.iter().map(Row::truth).collect::<Vec<_>>();
        let Date { year, month, day } = self.date;
        let mut truth = json!({
            "delivery_number": self.number,
            "delivery_date": format!("{year}-{month:02}-{day:02}"),
            "items": rows(&self.rows),
        });
        if self.spec.has_twin {
            truth["returned_items"] = json!(rows(&self.returned));
        }
        truth
    }
}

fn rows(spec: &Spec, words: &Words, chance: &mut Chance, count: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::with_capacity(count);
    for at in 0..count {
        // Neighbours and rows far apart.
        if spec.repeats_rows && at > 3 && chance.below(12) == 0 {
            let back = 1 + chance.below(at.min(40) as u64) as usize;
            let again = rows[at - back].clone();
            rows.push(again);
            continue;
        }
        rows.push(row(spec, words, chance));
    }
    rows
}

/// Rows of their own: none of the second table stands in the first by its article.
fn rows_of_twin(spec: &Spec, words: &Words, chance: &mut Chance, count: usize) -> Vec<Row> {
    let mut rows = rows(spec, words, chance, count);
    for row in &mut rows {
        row.article.replace_range(..1, "R");
    }
    rows
}

fn row(spec: &Spec, words: &Words, chance: &mut Chance) -> Row {
    let letters = b"ABCDEFGHJKLMNP";
    let (first, second) = (*chance.pick(letters), *chance.pick(letters));
    let mut description = format!("{} {}", chance.pick(words.kinds), chance.pick(words.goods));
    if spec.wraps_cells && chance.below(3) == 0 {
        description = format!("{description} {}", chance.pick(words.additions));
    }
    Row {
        article: format!(
            "{}{}-{:05}",
            first as char,
            second as char,
            chance.below(100_000)
        ),
        description,
        quantity: 1 + chance.below(240),
        price: 5 + chance.below(400_000),
    }
}

/// Sets lines on pages.
struct Setter<'a> {
    document: &'a Document,
    words: &'a Words,
    pages: Vec<Vec<Line>>,
    page: Vec<Line>,
    /// The table that goes on when a page is full, with the sum of its rows so far.
    table: Option<u64>,
    printed: Vec<Printed>,
}

impl<'a> Setter<'a> {
    fn new(document: &'a Document, words: &'a Words) -> Self {
        Self {
            document,
            words,
            pages: Vec::new(),
            page: Vec::new(),
            table: None,
            printed: Vec::new(),
        }
    }

    fn set(mut self) -> (Vec<Vec<Line>>, Vec<Printed>) {
        let (document, words) = (self.document, self.words);
        let date = self.document.spec.language.date(document.date);
        self.say(words.sender);
        self.say("");
        self.say(&format!("{}: {}", words.number, document.number));
        self.say(&format!("{}: {date}", words.date));
        self.say("");
        self.rows(words.delivered, &document.rows);
        if document.spec.has_twin {
            self.rows(words.returned, &document.returned);
        }
        self.say(words.closing);
        self.turn();
        (self.pages, self.printed)
    }

    fn say(&mut self, text: &str) {
        self.put(vec![(Column::Margin, text.to_owned())]);
    }

    fn put(&mut self, line: Line) {
        if self.page.len() >= self.document.spec.page_lines {
            self.turn();
        }
        self.page.push(line);
    }

    /// Begins a page, and on it the table that goes on.
    fn turn(&mut self) {
        let number = self.pages.len() + 1;
        let mut page = std::mem::take(&mut self.page);
        page.push(vec![(
            Column::Margin,
            format!("{} {number}", self.words.page),
        )]);
        self.pages.push(page);
        let Some(sum) = self.table else { return };
        if self.document.spec.has_subtotals {
            let sum = self.figure(sum);
            self.page.push(vec![
                (Column::Description, self.words.carried.to_owned()),
                (Column::Total, sum),
            ]);
        }
        if self.document.spec.repeats_header {
            self.page.push(self.header());
        }
    }

    fn header(&self) -> Line {
        let names = self.words.columns;
        let columns = [
            Column::Article,
            Column::Description,
            Column::Quantity,
            Column::Price,
            Column::Total,
        ];
        let mut header: Line = Vec::new();
        if self.document.spec.has_ordinals {
            header.push((Column::Ordinal, "#".into()));
        }
        let named = columns.into_iter().zip(names);
        header.extend(named.map(|(column, name)| (column, (*name).to_owned())));
        header
    }

    fn rows(&mut self, title: &str, rows: &[Row]) {
        let spec = self.document.spec;
        // A title, the header and a row stay together.
        if self.page.len() + 4 > spec.page_lines {
            self.turn();
        }
        self.say(title);
        let header = self.header();
        self.put(header);
        self.table = Some(0);
        self.printed.push(Vec::new());
        for (index, row) in rows.iter().enumerate() {
            self.row(index + 1, row);
            let sum = self.table.unwrap_or_default();
            if spec.has_subtotals && (index + 1) % 10 == 0 && index + 1 < rows.len() {
                let sum = self.figure(sum);
                self.put(vec![
                    (Column::Description, self.words.subtotal.to_owned()),
                    (Column::Total, sum),
                ]);
            }
        }
        let sum = self.table.take().unwrap_or_default();
        if spec.states_totals {
            let sum = self.figure(sum);
            self.put(vec![
                (Column::Description, self.words.total.to_owned()),
                (Column::Total, sum),
            ]);
            let count = format!("{}: {}", self.words.count, rows.len());
            self.say(&count);
        }
        self.say("");
    }

    fn row(&mut self, ordinal: usize, row: &Row) {
        let spec = self.document.spec;
        let mut lines = wrapped(&row.description, 28);
        let rest = lines.split_off(1);
        if !spec.breaks_rows && self.page.len() + 1 + rest.len() > spec.page_lines {
            self.turn();
        }
        let mut line: Line = Vec::new();
        if spec.has_ordinals {
            line.push((Column::Ordinal, ordinal.to_string()));
        }
        line.push((Column::Article, row.article.clone()));
        line.push((Column::Description, lines.remove(0)));
        line.push((Column::Quantity, row.quantity.to_string()));
        line.push((Column::Price, self.figure(row.price)));
        line.push((Column::Total, self.figure(row.total())));
        let mut printed = vec![self.put_row(line)];
        // Before a page may end inside the row: it counts where its figures stand.
        self.table = self.table.map(|sum| sum + row.total());
        for part in rest {
            printed.push(self.put_row(vec![(Column::Description, part)]));
        }
        self.printed
            .last_mut()
            .expect("a table that was begun")
            .push(printed);
    }

    /// Puts a line that is not blank, and says where it stands.
    fn put_row(&mut self, line: Line) -> (usize, usize) {
        self.put(line);
        let is_blank = |line: &Line| line.iter().all(|(_, cell)| cell.is_empty());
        let above = self.page[..self.page.len() - 1].iter();
        (
            self.pages.len(),
            above.filter(|line| !is_blank(line)).count(),
        )
    }

    fn figure(&self, cents: u64) -> String {
        self.document.spec.language.figure(cents)
    }
}

/// Lines of whole words, at least one.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
