//! Instruction sets: which one this processor has, and compiling a kernel for
//! each.
//!
//! A kernel is written once, in portable Rust, and compiled several times with
//! more instructions allowed each time ([`per_isa`]). Rust neither reorders
//! nor contracts floating-point operations, so every copy gives the same bits;
//! only the speed differs.

/// An instruction set that this processor has.
///
/// A value can only come from [`Isa::detect`], [`Isa::portable`] or
/// [`Isa::available`], so holding one proves that its instructions exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa {
    level: Level,
}

/// What [`per_isa`] compiles for, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// What every processor of the target has.
    Portable,
    /// AVX2, FMA, F16C, BMI2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The above, and AVX-512 F, BW, DQ, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Whether each of the named x86-64 features is there.
#[cfg(target_arch = "x86_64")]
macro_rules! detected {
    ($($feature:tt),*) => {
        [$(($feature, std::arch::is_x86_feature_detected!($feature))),*]
    };
}

/// Whether each of the named AArch64 features is there.
#[cfg(target_arch = "aarch64")]
macro_rules! detected {
    ($($feature:tt),*) => {
        [$(($feature, std::arch::is_aarch64_feature_detected!($feature))),*]
    };
}

impl Isa {
    /// The best instruction set of this processor.
    pub fn detect() -> Isa {
        Isa::available().last().copied().unwrap_or(Isa::portable())
    }

    /// The set that every processor of the target has.
    pub const fn portable() -> Isa {
        Isa {
            level: Level::Portable,
        }
    }

    /// Every set that this processor has, in rising order.
    pub fn available() -> Vec<Isa> {
        let mut sets = vec![Isa::portable()];
        #[cfg(target_arch = "x86_64")]
        {
            let all = |features: &[(&str, bool)]| features.iter().all(|&(_, has)| has);
            if all(&detected!["avx2", "fma", "f16c", "bmi2"]) {
                sets.push(Isa { level: Level::Avx2 });
                let avx512 = detected!["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"];
                if all(&avx512) {
                    sets.push(Isa {
                        level: Level::Avx512,
                    });
                }
            }
        }
        sets
    }

    /// A short name: `portable`, `avx2`, `avx512`.
    pub const fn name(self) -> &'static str {
        match self.level {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    /// The features that matter to kernels, by name, and whether this
    /// processor has them; also those that no kernel uses yet.
    pub fn features() -> Vec<(&'static str, bool)> {
        #[cfg(target_arch = "x86_64")]
        let features = detected![
            "sse4.1",
            "avx",
            "avx2",
            "fma",
            "f16c",
            "bmi2",
            "avxvnni",
            "avx512f",
            "avx512bw",
            "avx512dq",
            "avx512vl",
            "avx512vnni",
            "avx512vbmi",
            "avx512bf16",
            "avx512fp16"
        ];
        #[cfg(target_arch = "aarch64")]
        let features = detected!["neon", "fp16", "dotprod", "i8mm", "bf16", "sve", "sve2"];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let features = [];
        features.into()
    }

    pub(crate) const fn level(self) -> Level {
        self.level
    }
}

/// Compiles a function once per instruction set and chooses by an [`Isa`].
///
/// `fn name[generics][arguments for them](parameters) = body;` makes a
/// function `name` that takes an `Isa` before the parameters and calls `body`,
/// which must be `#[inline(always)]`, with all it calls, to be compiled anew.
macro_rules! per_isa {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident[$($generics:tt)*][$($arguments:tt)*]
        ($($parameter:ident: $type:ty),* $(,)?) = $body:ident;
    ) => {
        $(#[$attribute])*
        $visibility fn $name<$($generics)*>(
            isa: $crate::cpu::isa::Isa,
            $($parameter: $type),*
        ) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,bmi2")]
            fn avx2<$($generics)*>($($parameter: $type),*) {
                $body::<$($arguments)*>($($parameter),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(
                enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"
            )]
            fn avx512<$($generics)*>($($parameter: $type),*) {
                $body::<$($arguments)*>($($parameter),*)
            }
            match isa.level() {
                $crate::cpu::isa::Level::Portable => $body::<$($arguments)*>($($parameter),*),
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::isa::Level::Avx2 => {
                    // SAFETY: an `Isa` of this level is made by `Isa::available`
                    // alone, after it has seen these features.
                    unsafe { avx2::<$($arguments)*>($($parameter),*) }
                }
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::isa::Level::Avx512 => {
                    // SAFETY: as above.
                    unsafe { avx512::<$($arguments)*>($($parameter),*) }
                }
            }
        }
    };
}

pub(crate) use per_isa;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_set_is_the_last_available() {
        let sets = Isa::available();
        assert_eq!(sets[0], Isa::portable());
        assert_eq!(sets.last(), Some(&Isa::detect()));
        assert_eq!(Isa::portable().name(), "portable");
    }
}
