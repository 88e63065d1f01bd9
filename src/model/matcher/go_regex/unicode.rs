//! The names that Go's `\p{…}` knows, and the code points behind them.
//!
//! Names are Go's (1.26): categories, their long names, and scripts whose name is one word; Go refuses the others since
//! it began to compare names loosely. The code points are those of `regex-syntax`, whose Unicode is newer than Go's
//! (16 against 15): characters assigned in between belong here to their class, there to none.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// The class of a name as written between the braces, `None` where Go knows no such name.
pub(super) fn class(name: &str) -> Option<ClassUnicode> {
    let name = canonical(name);
    let query = match name.as_str() {
        "Any" => r"(?s:.)".to_owned(),
        "Assigned" => r"\P{gc=Cn}".to_owned(),
        "Ascii" => r"[\x00-\x7F]".to_owned(),
        "Lc" | "Casedletter" => r"\p{gc=LC}".to_owned(),
        // Surrogates cannot be in a string.
        "Cs" | "Surrogate" => return Some(ClassUnicode::empty()),
        name => match category(name) {
            Some(short) => format!(r"\p{{gc={short}}}"),
            None if SCRIPTS.binary_search(&name).is_ok() => format!(r"\p{{sc={name}}}"),
            None => return None,
        },
    };
    match regex_syntax::parse(&query).ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        HirKind::Class(Class::Bytes(class)) => class.to_unicode_class(),
        // A class of one character, such as `Zl`.
        HirKind::Literal(one) => {
            let c = std::str::from_utf8(&one.0).ok()?.chars().next()?;
            Some(ClassUnicode::new([ClassUnicodeRange::new(c, c)]))
        }
        _ => None,
    }
}

/// First letter large, the others small, no `_`, `-` and space. Letters of ASCII only: no name has others.
fn canonical(name: &str) -> String {
    let mut first = true;
    name.chars()
        .filter_map(|c| {
            if matches!(c, '_' | '-' | ' ') {
                return None;
            }
            let c = if first { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            first = false;
            Some(c)
        })
        .collect()
}

/// The short name of a category in either of its names.
fn category(name: &str) -> Option<&'static str> {
    let short = CATEGORIES.binary_search(&name).ok().and_then(|at| CATEGORIES.get(at));
    short.copied().or_else(|| {
        let at = CATEGORY_NAMES.binary_search_by_key(&name, |(long, _)| long).ok()?;
        CATEGORY_NAMES.get(at).map(|(_, short)| *short)
    })
}

const CATEGORIES: &[&str] = &[
    "C", "Cc", "Cf", "Cn", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P",
    "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

const CATEGORY_NAMES: &[(&str, &str)] = &[
    ("Closepunctuation", "Pe"),
    ("Cntrl", "Cc"),
    ("Combiningmark", "M"),
    ("Connectorpunctuation", "Pc"),
    ("Control", "Cc"),
    ("Currencysymbol", "Sc"),
    ("Dashpunctuation", "Pd"),
    ("Decimalnumber", "Nd"),
    ("Digit", "Nd"),
    ("Enclosingmark", "Me"),
    ("Finalpunctuation", "Pf"),
    ("Format", "Cf"),
    ("Initialpunctuation", "Pi"),
    ("Letter", "L"),
    ("Letternumber", "Nl"),
    ("Lineseparator", "Zl"),
    ("Lowercaseletter", "Ll"),
    ("Mark", "M"),
    ("Mathsymbol", "Sm"),
    ("Modifierletter", "Lm"),
    ("Modifiersymbol", "Sk"),
    ("Nonspacingmark", "Mn"),
    ("Number", "N"),
    ("Openpunctuation", "Ps"),
    ("Other", "C"),
    ("Otherletter", "Lo"),
    ("Othernumber", "No"),
    ("Otherpunctuation", "Po"),
    ("Othersymbol", "So"),
    ("Paragraphseparator", "Zp"),
    ("Privateuse", "Co"),
    ("Punct", "P"),
    ("Punctuation", "P"),
    ("Separator", "Z"),
    ("Spaceseparator", "Zs"),
    ("Spacingmark", "Mc"),
    ("Symbol", "S"),
    ("Titlecaseletter", "Lt"),
    ("Unassigned", "Cn"),
    ("Uppercaseletter", "Lu"),
];

const SCRIPTS: &[&str] = &[
    "Adlam",
    "Ahom",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Carian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Chorasmian",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Dogra",
    "Duployan",
    "Elbasan",
    "Elymaic",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Hiragana",
    "Inherited",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kawi",
    "Kharoshthi",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Makasar",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Medefaidrin",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Nandinagari",
    "Newa",
    "Nko",
    "Nushu",
    "Ogham",
    "Oriya",
    "Osage",
    "Osmanya",
    "Palmyrene",
    "Phoenician",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "Sinhala",
    "Sogdian",
    "Soyombo",
    "Sundanese",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Takri",
    "Tamil",
    "Tangsa",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Toto",
    "Ugaritic",
    "Vai",
    "Vithkuqi",
    "Wancho",
    "Yezidi",
    "Yi",
];
