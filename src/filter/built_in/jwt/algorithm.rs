//! How tokens are signed, [RFC 7518](https://www.rfc-editor.org/rfc/rfc7518#section-3.1), and keys to check that with.
//!
//! By `ring`, which TLS stands on anyway. The crate `jsonwebtoken` has no back end of it: it would bring a second cryptography, or
//! put ours in the place of whatever the program that we are a library of has chosen for its own tokens.

use ring::hmac;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

/// An algorithm that is known here. `none` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

impl Algorithm {
    /// Those whose keys may be known to everybody.
    pub(super) const ASYMMETRIC: [Algorithm; 9] = [
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];

    pub(super) fn is_symmetric(self) -> bool {
        !Self::ASYMMETRIC.contains(&self)
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    fn hmac(self) -> Option<hmac::Algorithm> {
        Some(match self {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return None,
        })
    }
}

/// A key. Its kind says which algorithms it is good for, whatever a token says.
pub(super) enum Material {
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// Points, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

impl Material {
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Material::Rsa(..) => algorithm.rsa().is_some(),
            Material::P256(_) => algorithm == Algorithm::ES256,
            Material::P384(_) => algorithm == Algorithm::ES384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDSA,
            Material::Secret(_) => algorithm.is_symmetric(),
        }
    }

    /// Whether the signature is by the owner of this key; never for an algorithm that it does not fit.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let point = |by: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(by, key).verify(message, signature).is_ok()
        };
        match (self, algorithm) {
            (Material::Rsa(n, e), _) => algorithm
                .rsa()
                .is_some_and(|rsa| RsaPublicKeyComponents { n, e }.verify(rsa, message, signature).is_ok()),
            (Material::P256(key), Algorithm::ES256) => point(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Material::P384(key), Algorithm::ES384) => point(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Material::Ed25519(key), Algorithm::EdDSA) => point(&signature::ED25519, key),
            (Material::Secret(secret), _) => {
                algorithm.hmac().is_some_and(|by| hmac::verify(&hmac::Key::new(by, secret), message, signature).is_ok())
            }
            _ => false,
        }
    }
}
