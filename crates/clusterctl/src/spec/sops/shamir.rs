//! Shamir's secret sharing over GF(256), in `HashiCorp`'s layout: the last byte of a share is its
//! x coordinate.

use zeroize::Zeroizing;

fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0_u8);
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        let carry = a & 0x80 != 0;
        a <<= 1;
        if carry {
            a ^= 0x1b;
        }
        b >>= 1;
    }
    product
}

/// The inverse by Fermat: a^254.
fn inverse(a: u8) -> u8 {
    let mut result = 1_u8;
    for _ in 0..254 {
        result = multiply(result, a);
    }
    result
}

/// Puts shares together; `None` when there are fewer than two, they differ in length, or one
/// comes twice.
pub(super) fn combine(shares: &[Zeroizing<Vec<u8>>]) -> Option<Zeroizing<Vec<u8>>> {
    let length = shares.first()?.len();
    if shares.len() < 2 || length < 2 || shares.iter().any(|share| share.len() != length) {
        return None;
    }
    let points: Vec<u8> = shares.iter().filter_map(|share| share.last().copied()).collect();
    let mut seen = points.clone();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != points.len() {
        return None;
    }
    let mut secret = Zeroizing::new(vec![0_u8; length - 1]);
    for (share, x) in shares.iter().zip(&points) {
        // Lagrange's basis polynomial of this share, at zero.
        let mut basis = 1_u8;
        for other in points.iter().filter(|other| *other != x) {
            basis = multiply(basis, multiply(*other, inverse(*other ^ *x)));
        }
        for (byte, value) in secret.iter_mut().zip(share.iter()) {
            *byte ^= multiply(*value, basis);
        }
    }
    Some(secret)
}

/// Splits a secret into `count` shares of which `threshold` are needed.
pub(super) fn split(secret: &[u8], count: u8, threshold: u8) -> Vec<Zeroizing<Vec<u8>>> {
    use rand::RngCore as _;
    let mut random = rand::rng();
    let mut shares: Vec<Zeroizing<Vec<u8>>> =
        (0..count).map(|_| Zeroizing::new(Vec::with_capacity(secret.len() + 1))).collect();
    for byte in secret {
        let mut coefficients = Zeroizing::new(vec![0_u8; usize::from(threshold.max(1)) - 1]);
        random.fill_bytes(&mut coefficients);
        for (share, x) in shares.iter_mut().zip(1_u8..) {
            // Horner's rule; the secret byte is the constant term.
            let mut value = 0_u8;
            for coefficient in coefficients.iter().rev() {
                value = multiply(value ^ *coefficient, x);
            }
            share.push(value ^ byte);
        }
    }
    for (share, x) in shares.iter_mut().zip(1_u8..) {
        share.push(x);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_threshold_of_shares_gives_the_secret() {
        let secret = b"correct horse battery staple";
        let shares = split(secret, 5, 3);
        for pick in [[0, 1, 2], [4, 2, 0], [1, 3, 4]] {
            let some: Vec<_> = pick.iter().map(|n| shares[*n].clone()).collect();
            assert_eq!(combine(&some).unwrap().as_slice(), secret);
        }
        assert_ne!(combine(&shares[..2]).unwrap().as_slice(), secret);
        assert!(combine(&shares[..1]).is_none());
        assert!(combine(&[shares[0].clone(), shares[0].clone()]).is_none());
    }
}
