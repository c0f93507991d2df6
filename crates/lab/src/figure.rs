//! Numbers with their definitions.

/// A number, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) key: String,
    pub(crate) unit: &'static str,
    /// `None`: nothing to compute it from.
    pub(crate) value: Option<f64>,
    pub(crate) definition: String,
}

impl Figure {
    pub(crate) fn new(
        key: impl Into<String>,
        unit: &'static str,
        value: impl Into<Option<f64>>,
        definition: impl Into<String>,
    ) -> Self {
        let value = value.into().filter(|value| value.is_finite());
        Self { key: key.into(), unit, value, definition: definition.into() }
    }
}

/// The `share`-quantile (0 to 1) of sorted values, interpolated between the two nearest (type 7 of Hyndman & Fan 1996,
/// the default of NumPy and R).
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = share.clamp(0.0, 1.0) * last as f64;
    let below = sorted[position.floor() as usize];
    let above = sorted[position.ceil() as usize];
    Some(below + (above - below) * position.fract())
}
