//! Text in other encodings than UTF-8, under the names that IANA has for them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs as rs;

use super::Arguments;
use super::encoding::decode_base64;
use crate::spec::hcl::eval::Result;
use crate::spec::hcl::value::Value;

/// What a decoder writes for bytes that stand for nothing.
const REPLACEMENT: char = '\u{fffd}';

/// An encoding.
#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Utf16(Order),
    Ascii,
    /// ISO 8859-1: each byte is the letter of its number.
    Latin1,
    /// ISO 8859-9: as the first, but for six Turkish letters.
    Latin5,
    Library(&'static rs::Encoding),
}

/// Order of the two bytes of UTF-16.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Big,
    Little,
    /// Big, unless a byte order mark tells otherwise; one is written.
    Marked,
}

/// The names of each encoding, in small letters and apart by spaces. Code pages of DOS and of mainframes, which
/// Terraform also has, are not carried.
static NAMES: &[(Charset, &str)] = &[
    (Charset::Utf8, "utf-8 csutf8"),
    (Charset::Utf16(Order::Marked), "utf-16 csutf16"),
    (Charset::Utf16(Order::Big), "utf-16be csutf16be"),
    (Charset::Utf16(Order::Little), "utf-16le csutf16le"),
    (
        Charset::Ascii,
        "us-ascii iso-ir-6 ansi_x3.4-1968 ansi_x3.4-1986 iso_646.irv:1991 iso646-us us \
         ibm367 cp367 csascii",
    ),
    (
        Charset::Latin1,
        "iso-8859-1 iso_8859-1:1987 iso-ir-100 iso_8859-1 latin1 l1 ibm819 cp819 csisolatin1",
    ),
    (Charset::Latin5, "iso-8859-9 iso_8859-9:1989 iso-ir-148 iso_8859-9 latin5 l5 csisolatin5"),
    (
        Charset::Library(rs::ISO_8859_2),
        "iso-8859-2 iso_8859-2:1987 iso-ir-101 iso_8859-2 latin2 l2 csisolatin2",
    ),
    (
        Charset::Library(rs::ISO_8859_3),
        "iso-8859-3 iso_8859-3:1988 iso-ir-109 iso_8859-3 latin3 l3 csisolatin3",
    ),
    (
        Charset::Library(rs::ISO_8859_4),
        "iso-8859-4 iso_8859-4:1988 iso-ir-110 iso_8859-4 latin4 l4 csisolatin4",
    ),
    (
        Charset::Library(rs::ISO_8859_5),
        "iso-8859-5 iso_8859-5:1988 iso-ir-144 iso_8859-5 cyrillic csisolatincyrillic",
    ),
    (
        Charset::Library(rs::ISO_8859_6),
        "iso-8859-6 iso_8859-6:1987 iso-ir-127 iso_8859-6 ecma-114 asmo-708 arabic \
         csisolatinarabic iso_8859-6-e csiso88596e iso-8859-6-e iso_8859-6-i csiso88596i \
         iso-8859-6-i",
    ),
    (
        Charset::Library(rs::ISO_8859_7),
        "iso-8859-7 iso_8859-7:1987 iso-ir-126 iso_8859-7 elot_928 ecma-118 greek greek8 \
         csisolatingreek",
    ),
    (
        Charset::Library(rs::ISO_8859_8),
        "iso-8859-8 iso_8859-8:1988 iso-ir-138 iso_8859-8 hebrew csisolatinhebrew \
         iso_8859-8-e csiso88598e iso-8859-8-e iso_8859-8-i csiso88598i iso-8859-8-i",
    ),
    (Charset::Library(rs::ISO_8859_10), "iso-8859-10 iso-ir-157 l6 csisolatin6 latin6"),
    (Charset::Library(rs::ISO_8859_13), "iso-8859-13 csiso885913"),
    (
        Charset::Library(rs::ISO_8859_14),
        "iso-8859-14 iso-ir-199 iso_8859-14:1998 iso_8859-14 latin8 iso-celtic l8 csiso885914",
    ),
    (Charset::Library(rs::ISO_8859_15), "iso-8859-15 iso_8859-15 latin-9 csiso885915"),
    (
        Charset::Library(rs::ISO_8859_16),
        "iso-8859-16 iso-ir-226 iso_8859-16:2001 iso_8859-16 latin10 l10 csiso885916",
    ),
    (Charset::Library(rs::KOI8_R), "koi8-r cskoi8r"),
    (Charset::Library(rs::KOI8_U), "koi8-u cskoi8u"),
    (Charset::Library(rs::MACINTOSH), "macintosh mac csmacintosh"),
    (Charset::Library(rs::IBM866), "ibm866 cp866 866 csibm866"),
    (Charset::Library(rs::WINDOWS_874), "windows-874 cswindows874"),
    (Charset::Library(rs::WINDOWS_1250), "windows-1250 cswindows1250"),
    (Charset::Library(rs::WINDOWS_1251), "windows-1251 cswindows1251"),
    (Charset::Library(rs::WINDOWS_1252), "windows-1252 cswindows1252"),
    (Charset::Library(rs::WINDOWS_1253), "windows-1253 cswindows1253"),
    (Charset::Library(rs::WINDOWS_1254), "windows-1254 cswindows1254"),
    (Charset::Library(rs::WINDOWS_1255), "windows-1255 cswindows1255"),
    (Charset::Library(rs::WINDOWS_1256), "windows-1256 cswindows1256"),
    (Charset::Library(rs::WINDOWS_1257), "windows-1257 cswindows1257"),
    (Charset::Library(rs::WINDOWS_1258), "windows-1258 cswindows1258"),
    (
        Charset::Library(rs::EUC_JP),
        "euc-jp extended_unix_code_packed_format_for_japanese cseucpkdfmtjapanese",
    ),
    (Charset::Library(rs::ISO_2022_JP), "iso-2022-jp csiso2022jp"),
    (Charset::Library(rs::SHIFT_JIS), "shift_jis ms_kanji csshiftjis"),
    (Charset::Library(rs::EUC_KR), "euc-kr cseuckr"),
    (Charset::Library(rs::GB18030), "gb18030 csgb18030"),
    (Charset::Library(rs::GBK), "gbk cp936 ms936 windows-936 csgbk"),
    (Charset::Library(rs::BIG5), "big5 csbig5"),
];

impl Charset {
    fn named(name: &str) -> Option<Self> {
        let name = name.trim().to_lowercase();
        let found = NAMES.iter().find(|(_, names)| names.split(' ').any(|own| own == name));
        found.map(|(charset, _)| *charset)
    }

    /// The bytes of a text; none if a letter is not in the encoding.
    fn encode(self, text: &str) -> Option<Vec<u8>> {
        let bytes = |order: Order, text: &str| match order {
            Order::Little => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Order::Big | Order::Marked => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        };
        match self {
            Self::Utf8 => Some(text.as_bytes().to_vec()),
            Self::Utf16(Order::Marked) => Some(bytes(Order::Big, &format!("\u{feff}{text}"))),
            Self::Utf16(order) => Some(bytes(order, text)),
            Self::Ascii => text.is_ascii().then(|| text.as_bytes().to_vec()),
            Self::Latin1 => text.chars().map(|letter| u8::try_from(letter).ok()).collect(),
            Self::Latin5 => text
                .chars()
                .map(|letter| match TURKISH.iter().find(|(_, turkish)| *turkish == letter) {
                    Some((byte, _)) => Some(*byte),
                    None => u8::try_from(letter).ok().filter(|byte| turkish(*byte).is_none()),
                })
                .collect(),
            Self::Library(encoding) => {
                let (bytes, _, has_errors) = encoding.encode(text);
                (!has_errors && !has_controls(encoding, text)).then(|| bytes.into_owned())
            }
        }
    }

    /// The text of bytes; none if some stand for nothing.
    fn decode(self, bytes: &[u8]) -> Option<String> {
        let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| read(*pair)).collect();
            if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
        };
        let text = match self {
            Self::Utf8 => String::from_utf8(bytes.to_vec()).ok()?,
            Self::Utf16(Order::Little) => wide(bytes, u16::from_le_bytes)?,
            Self::Utf16(Order::Big) => wide(bytes, u16::from_be_bytes)?,
            Self::Utf16(Order::Marked) => match bytes {
                [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes)?,
                [0xfe, 0xff, rest @ ..] | rest => wide(rest, u16::from_be_bytes)?,
            },
            Self::Ascii => {
                bytes.is_ascii().then(|| bytes.iter().copied().map(char::from).collect())?
            }
            Self::Latin1 => bytes.iter().copied().map(char::from).collect(),
            Self::Latin5 => bytes
                .iter()
                .map(|byte| turkish(*byte).unwrap_or_else(|| char::from(*byte)))
                .collect(),
            Self::Library(encoding) => {
                let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
                (!has_controls(encoding, &text)).then(|| text.into_owned())?
            }
        };
        (!text.contains(REPLACEMENT)).then_some(text)
    }
}

/// Bytes without a letter are controls to the library, and nothing to Terraform.
fn has_controls(encoding: &'static rs::Encoding, text: &str) -> bool {
    encoding.is_single_byte() && text.chars().any(|letter| matches!(letter, '\u{80}'..='\u{9f}'))
}

const TURKISH: [(u8, char); 6] =
    [(0xd0, 'Ğ'), (0xdd, 'İ'), (0xde, 'Ş'), (0xf0, 'ğ'), (0xfd, 'ı'), (0xfe, 'ş')];

fn turkish(byte: u8) -> Option<char> {
    TURKISH.iter().find(|(own, _)| *own == byte).map(|(_, letter)| *letter)
}

fn charset(given: &Arguments<'_>) -> Result<Charset> {
    let name = given.string(1)?;
    Charset::named(&name)
        .ok_or_else(|| given.failure(1, format!("{name:?} is no encoding that is known here")))
}

pub(super) fn textencodebase64(given: &Arguments<'_>) -> Result<Value> {
    let (text, charset) = (given.string(0)?, charset(given)?);
    match charset.encode(&text) {
        Some(bytes) => Ok(Value::string(STANDARD.encode(bytes))),
        None => Err(given.failure(0, "a letter is not in the encoding")),
    }
}

pub(super) fn textdecodebase64(given: &Arguments<'_>) -> Result<Value> {
    let (text, charset) = (given.string(0)?, charset(given)?);
    let Some(bytes) = decode_base64(&text) else {
        return Err(given.failure(0, "the text is no base64"));
    };
    match charset.decode(&bytes) {
        Some(text) => Ok(Value::string(text)),
        None => Err(given.failure(0, "some of the bytes stand for nothing in the encoding")),
    }
}
