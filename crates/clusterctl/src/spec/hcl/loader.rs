//! Files: found, read once, evaluated in the place they stand in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::ast::Body;
use super::error::{Class, Failure};
use super::eval::Result;
use super::file::FileEval;
use super::parse;
use super::place::{Site, folder, join};

/// Decrypts a SOPS file into its text; without a key, why not.
pub type Decrypt = Box<dyn Fn(&Path) -> std::result::Result<DecryptedText, String>>;

/// What a SOPS file gave.
#[derive(Debug, Clone)]
pub enum DecryptedText {
    /// Its text.
    Plain(String),
    /// No key is at hand: what it holds is not known, for this reason.
    NoKey(String),
}

/// A file that may be encrypted as a whole.
#[derive(Debug)]
pub enum Sealed {
    /// It is not.
    Clear(Rc<FileEval>),
    /// It was opened: every value of it is sensitive.
    Opened(Rc<FileEval>),
    /// No key is at hand, for this reason: nothing is known of what it holds.
    Shut(String),
}

/// How closely Terragrunt is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Everything is evaluated, and fails, as Terragrunt does it.
    Terragrunt,
    /// What is read is evaluated; files stay inside of the repository.
    Lazy,
    /// Terraform: no blocks, no functions of Terragrunt.
    Terraform,
}

/// What evaluation is given from outside.
pub struct Options {
    /// How closely Terragrunt is followed.
    pub strictness: Strictness,
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// The folder that the program was started in.
    pub cwd: PathBuf,
    /// Files are read only below this folder.
    pub boundary: Option<PathBuf>,
    /// Reads SOPS files.
    pub decrypt: Decrypt,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("strictness", &self.strictness)
            .field("cwd", &self.cwd)
            .field("boundary", &self.boundary)
            .finish_non_exhaustive()
    }
}

/// Reads and evaluates files.
pub struct Loader {
    pub(super) options: Options,
    sources: RefCell<BTreeMap<PathBuf, Parsed>>,
    /// Also of files that could not be parsed: a diagnostic shows the line. Shared, for whoever checks a
    /// tree asks for them with every key.
    texts: RefCell<Arc<BTreeMap<PathBuf, Arc<str>>>>,
    evaluated: RefCell<BTreeMap<(PathBuf, PathBuf), Rc<FileEval>>>,
    reading: RefCell<Vec<PathBuf>>,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("options", &self.options).finish_non_exhaustive()
    }
}

type Parsed = Result<(Arc<str>, Rc<Body>)>;

impl Loader {
    /// A loader that has read nothing yet.
    pub fn new(options: Options) -> Rc<Self> {
        Rc::new(Self {
            options,
            sources: RefCell::default(),
            texts: RefCell::default(),
            evaluated: RefCell::default(),
            reading: RefCell::default(),
        })
    }

    /// The text of every file that was read as HCL, for diagnostics.
    pub fn sources(&self) -> Arc<BTreeMap<PathBuf, Arc<str>>> {
        Arc::clone(&self.texts.borrow())
    }

    /// Reads a file as the outermost one; the folder worked in is its own unless given.
    ///
    /// # Errors
    /// The file is not there, is no HCL, or has blocks that have no place in it.
    pub fn open(self: &Rc<Self>, path: &Path, work_dir: Option<&Path>) -> Result<Rc<FileEval>> {
        let site = Site {
            text_dir: folder(path).to_path_buf(),
            unit: path.to_path_buf(),
            original: path.to_path_buf(),
            work_dir: join(work_dir.unwrap_or_else(|| folder(path)), "."),
            includes: Vec::new(),
        };
        self.file(path, site)
    }

    /// As [`Self::open`], for a file that may be encrypted as a whole. What is decrypted never gets
    /// among the texts that diagnostics show.
    ///
    /// # Errors
    /// As [`Self::open`], or it cannot be decrypted; then nothing of what it holds is told.
    pub fn open_sealed(self: &Rc<Self>, path: &Path) -> Result<Sealed> {
        let is_sealed = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(
            &self.bytes(path, Class::MissingFile)?,
        )
        .is_ok_and(|map| map.contains_key("sops") && map.contains_key("data"));
        if !is_sealed {
            return self.open(path, None).map(Sealed::Clear);
        }
        let failed = |what: &str| Failure::new(Class::Sops, what).in_file(path);
        let text = match (self.options.decrypt)(path) {
            Ok(DecryptedText::Plain(text)) => text,
            Ok(DecryptedText::NoKey(reason)) => return Ok(Sealed::Shut(reason)),
            Err(reason) => return Err(failed(&reason)),
        };
        let body = parse::body(&text).map_err(|_| failed("what it decrypts to is no HCL"))?;
        self.sources.borrow_mut().insert(path.to_path_buf(), Ok(("".into(), Rc::new(body))));
        self.open(path, None)
            .map(Sealed::Opened)
            .map_err(|_| failed("what it decrypts to cannot be read"))
    }

    /// Reads a file that another one reads.
    pub(super) fn read(self: &Rc<Self>, path: &Path, by: &Site) -> Result<Rc<FileEval>> {
        if self.reading.borrow().iter().any(|reading| reading == path) {
            let reading = self.reading.borrow();
            let names: Vec<String> =
                reading.iter().map(|path| path.display().to_string()).collect();
            return Err(Failure::new(
                Class::ReadCycle,
                format!("files read one another: {} -> {}", names.join(" -> "), path.display()),
            ));
        }
        let key = (path.to_path_buf(), by.original.clone());
        if let Some(found) = self.evaluated.borrow().get(&key) {
            return Ok(Rc::clone(found));
        }
        let site = Site {
            text_dir: folder(path).to_path_buf(),
            unit: path.to_path_buf(),
            original: by.original.clone(),
            work_dir: folder(path).to_path_buf(),
            includes: Vec::new(),
        };
        let file = self.file(path, site)?;
        self.evaluated.borrow_mut().insert(key, Rc::clone(&file));
        Ok(file)
    }

    /// Runs `work` while a file counts as being read.
    pub(super) fn while_reading<T>(&self, path: &Path, work: impl FnOnce() -> T) -> T {
        self.reading.borrow_mut().push(path.to_path_buf());
        let result = work();
        self.reading.borrow_mut().pop();
        result
    }

    pub(super) fn file(self: &Rc<Self>, path: &Path, site: Site) -> Result<Rc<FileEval>> {
        let (_, body) = self.parsed(path)?;
        FileEval::new(Rc::clone(self), path, body, site).map_err(|failure| failure.in_file(path))
    }

    fn parsed(&self, path: &Path) -> Parsed {
        if let Some(parsed) = self.sources.borrow().get(path) {
            return parsed.clone();
        }
        let parsed = self.parse(path);
        self.sources.borrow_mut().insert(path.to_path_buf(), parsed.clone());
        parsed
    }

    fn parse(&self, path: &Path) -> Parsed {
        let bytes = self.bytes(path, Class::MissingFile)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::new(Class::Parse, format!("{} is not UTF-8", path.display())).in_file(path)
        })?;
        let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(&text).into();
        Arc::make_mut(&mut self.texts.borrow_mut()).insert(path.to_path_buf(), Arc::clone(&text));
        let body = parse::body(&text).map_err(|failure| failure.in_file(path))?;
        Ok((text, Rc::new(body)))
    }

    /// The bytes of a file inside of the boundary; at most [`parse::LARGEST_FILE`] of them.
    pub(super) fn bytes(&self, path: &Path, missing: Class) -> Result<Vec<u8>> {
        self.inside(path)?;
        let shown = path.display();
        match fs_err::metadata(path) {
            Ok(data) if data.is_dir() => {
                return Err(Failure::new(missing, format!("{shown} is a folder")));
            }
            Ok(data) if data.len() > parse::LARGEST_FILE as u64 => {
                return Err(Failure::value(format!(
                    "{shown} has {} bytes; at most {} are read",
                    data.len(),
                    parse::LARGEST_FILE
                )));
            }
            _ => {}
        }
        fs_err::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::new(missing, format!("there is no file {shown}"))
            }
            _ => Failure::new(missing, format!("{shown} cannot be read: {}", error.kind())),
        })
    }

    /// Refuses a path that leads out of the repository, also by way of a link.
    pub(super) fn inside(&self, path: &Path) -> Result<()> {
        let Some(boundary) = &self.options.boundary else { return Ok(()) };
        let real = match fs_err::canonicalize(path) {
            Ok(real) => real,
            // What is not there cannot lead anywhere but by its name.
            Err(_) => path.to_path_buf(),
        };
        let boundary_real = fs_err::canonicalize(boundary).unwrap_or_else(|_| boundary.clone());
        if real.starts_with(&boundary_real) || real.starts_with(boundary) {
            return Ok(());
        }
        Err(Failure::value(format!("{} lies outside of the repository", path.display()))
            .help("files are read below the repository's root only"))
    }

    /// Whether a file's functions of Terragrunt are there.
    pub(super) fn is_terraform(&self) -> bool {
        self.options.strictness == Strictness::Terraform
    }
}
