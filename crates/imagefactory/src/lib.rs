//! imagefactory.
