//! What is printed, in each language.

use super::Date;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    German,
    French,
}

/// The words of one language.
pub struct Words {
    pub sender: &'static str,
    pub number: &'static str,
    pub date: &'static str,
    pub delivered: &'static str,
    pub returned: &'static str,
    pub columns: &'static [&'static str; 5],
    pub subtotal: &'static str,
    pub carried: &'static str,
    pub total: &'static str,
    pub count: &'static str,
    pub page: &'static str,
    pub closing: &'static str,
    pub kinds: &'static [&'static str],
    pub goods: &'static [&'static str],
    pub additions: &'static [&'static str],
}

impl Language {
    pub const ALL: [Self; 3] = [Self::English, Self::German, Self::French];

    pub fn words(self) -> Words {
        match self {
            Self::English => ENGLISH,
            Self::German => GERMAN,
            Self::French => FRENCH,
        }
    }

    /// An amount of cents as people of the language write it.
    pub fn figure(self, cents: u64) -> String {
        let (thousands, point) = match self {
            Self::English => (',', '.'),
            Self::German => ('.', ','),
            Self::French => (' ', ','),
        };
        let whole = (cents / 100).to_string();
        let mut figure = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                figure.push(thousands);
            }
            figure.push(digit);
        }
        format!("{figure}{point}{:02}", cents % 100)
    }

    pub(super) fn date(self, date: Date) -> String {
        let Date { year, month, day } = date;
        match self {
            Self::English => format!("{} {day}, {year}", MONTHS[month as usize - 1]),
            Self::German => format!("{day:02}.{month:02}.{year}"),
            Self::French => format!("{day:02}/{month:02}/{year}"),
        }
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const ENGLISH: Words = Words {
    sender: "Harbour Supplies Ltd, 4 Quay Road, Bristol",
    number: "Delivery number",
    date: "Delivery date",
    delivered: "Goods delivered",
    returned: "Goods returned",
    columns: &["Article", "Description", "Quantity", "Unit price", "Total"],
    subtotal: "Subtotal",
    carried: "Brought forward",
    total: "Total of all lines",
    count: "Number of lines",
    page: "Page",
    closing: "Thank you for your order.",
    kinds: &[
        "Galvanised",
        "Brass",
        "Stainless",
        "Oak",
        "Rubber",
        "Copper",
    ],
    goods: &[
        "hinge",
        "hex bolt",
        "washer",
        "pipe clamp",
        "angle bracket",
        "door handle",
        "cable gland",
    ],
    additions: &[
        "with counter-sunk head, pack of twenty",
        "for outdoor use, weatherproof finish",
        "left-hand version, including screws",
    ],
};

const GERMAN: Words = Words {
    sender: "Nordlicht Handels GmbH, Am Hafen 12, 24103 Kiel",
    number: "Lieferscheinnummer",
    date: "Lieferdatum",
    delivered: "Gelieferte Waren",
    returned: "Zurückgesandte Waren",
    columns: &[
        "Artikel",
        "Bezeichnung",
        "Menge",
        "Einzelpreis",
        "Gesamtpreis",
    ],
    subtotal: "Zwischensumme",
    carried: "Übertrag",
    total: "Summe aller Positionen",
    count: "Anzahl der Positionen",
    page: "Seite",
    closing: "Vielen Dank für Ihre Bestellung.",
    kinds: &[
        "Verzinkte",
        "Große",
        "Rostfreie",
        "Kleine",
        "Geprüfte",
        "Lose",
    ],
    goods: &[
        "Schraube",
        "Unterlegscheibe",
        "Rohrschelle",
        "Türklinke",
        "Schließzylinder",
        "Kabelhülse",
    ],
    additions: &[
        "mit Senkkopf, Packung zu zwanzig Stück",
        "für den Außenbereich, wetterfest",
        "linke Ausführung, mit Schrauben",
    ],
};

const FRENCH: Words = Words {
    sender: "Quincaillerie du Port SARL, 8 quai des Moulins, Nantes",
    number: "Numéro de livraison",
    date: "Date de livraison",
    delivered: "Marchandises livrées",
    returned: "Marchandises retournées",
    columns: &[
        "Article",
        "Désignation",
        "Quantité",
        "Prix unitaire",
        "Montant",
    ],
    subtotal: "Sous-total",
    carried: "Report",
    total: "Total des lignes",
    count: "Nombre de lignes",
    page: "Page",
    closing: "Merci de votre commande.",
    kinds: &["Grande", "Petite", "Simple", "Double", "Forte", "Légère"],
    goods: &[
        "vis hexagonale",
        "rondelle",
        "équerre",
        "poignée de porte",
        "charnière",
        "bride",
    ],
    additions: &[
        "à tête fraisée, paquet de vingt pièces",
        "pour l'extérieur, traitée contre la pluie",
        "modèle gauche, vis comprises",
    ],
};
