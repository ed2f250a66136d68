//! The shrinkage formulas: what one inventory record means, the three models, forecasts. The same as the functions of
//! migration `0007_shrinkage_reports`, which a test compares with these.
//!
//! Masses are kilograms, rates and S(t) are fractions of the initial mass, days are days. Every result is `None` where
//! a value it needs is missing, no number, or past 1e100; nearer to zero than 1e-100 is zero.

/// Past this, a number is taken for nonsense.
const USABLE_MAX: f64 = 1e100;
/// Up to this, it is zero: products of such numbers are too small to be told.
const ZERO_MAX: f64 = 1e-100;
/// The smallest initial balance that a rate can be told of, in kg: a milligram.
const INITIAL_MIN: f64 = 1e-6;
/// The longest time that a model is asked about, in days.
const DAYS_MAX: f64 = 1e6;

fn usable(value: Option<f64>) -> Option<f64> {
    let value = value.filter(|value| value.abs() <= USABLE_MAX)?;
    Some(if value.abs() <= ZERO_MAX { 0.0 } else { value })
}

/// One inventory record. A movement that is `None` did not take place.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Inventory {
    /// In store at first, kg.
    pub initial_balance: Option<f64>,
    /// Come in, kg.
    pub incoming: Option<f64>,
    /// Gone out, kg.
    pub outgoing: Option<f64>,
    /// Counted at last, kg.
    pub final_balance: Option<f64>,
}

impl Inventory {
    /// The balance that should be in store: initial + incoming − outgoing, kg.
    #[must_use]
    pub fn theoretical_balance(&self) -> Option<f64> {
        let moved = |value: Option<f64>| usable(Some(value.unwrap_or(0.0)));
        Some(usable(self.initial_balance)? + moved(self.incoming)? - moved(self.outgoing)?)
    }

    /// The loss: theoretical − final balance, kg.
    #[must_use]
    pub fn shrinkage_mass(&self) -> Option<f64> {
        Some(self.theoretical_balance()? - usable(self.final_balance)?)
    }

    /// The loss as a fraction of the initial balance.
    ///
    /// ```
    /// use tidemark_core::formulas::Inventory;
    /// let record = Inventory { initial_balance: Some(1.2), final_balance: Some(1.092), ..Inventory::default() };
    /// assert!((record.shrinkage_rate().unwrap() - 0.09).abs() < 1e-12);
    /// ```
    #[must_use]
    pub fn shrinkage_rate(&self) -> Option<f64> {
        let initial = usable(self.initial_balance).filter(|&initial| initial >= INITIAL_MIN)?;
        Some(self.shrinkage_mass()? / initial)
    }
}

/// The form of a model, `models.model_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelType {
    /// S = a·(1 − e^(−b·t)) + c·t
    Exponential,
    /// S = a·t + b
    Linear,
    /// S = a·t² + b·t + c
    Polynomial,
}

impl ModelType {
    /// By its name in the database.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "exponential" => Some(Self::Exponential),
            "linear" => Some(Self::Linear),
            "polynomial" => Some(Self::Polynomial),
            _ => None,
        }
    }
}

/// A model with its coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// Its form.
    pub ty: ModelType,
    /// `coefficient_a`
    pub a: Option<f64>,
    /// `coefficient_b`
    pub b: Option<f64>,
    /// `coefficient_c`; a linear model has none.
    pub c: Option<f64>,
}

/// One day of a forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForecastDay {
    /// Days from the beginning.
    pub day: u32,
    /// The fraction that is lost by then.
    pub shrinkage: f64,
    /// Its mass, kg.
    pub shrinkage_mass: f64,
    /// The rest, kg.
    pub balance: f64,
}

impl Model {
    /// S(t): the fraction that is lost after `days`.
    #[must_use]
    pub fn shrinkage_after(&self, days: f64) -> Option<f64> {
        if days != 0.0 && !(ZERO_MAX..=DAYS_MAX).contains(&days) {
            return None;
        }
        let (a, b) = (usable(self.a)?, usable(self.b)?);
        match self.ty {
            ModelType::Linear => Some(a * days + b),
            ModelType::Polynomial => Some((a * days + b) * days + usable(self.c)?),
            ModelType::Exponential => {
                let (exponent, c) = (b * days, usable(self.c)?);
                if exponent > 700.0 {
                    return Some(a + c * days);
                }
                // Below, the model is past all sense: e^100.
                (exponent > -100.0).then(|| a * (1.0 - (-exponent).exp()) + c * days)
            }
        }
    }

    /// The forecast for each of the next `days` of a mass of `initial_balance` kg; ends where the model gives no
    /// number.
    pub fn forecast(&self, initial_balance: f64, days: u32) -> impl Iterator<Item = ForecastDay> {
        let model = *self;
        (1..=days).map_while(move |day| {
            let initial = usable(Some(initial_balance))?;
            let shrinkage = usable(model.shrinkage_after(f64::from(day)))?;
            let shrinkage_mass = shrinkage * initial;
            Some(ForecastDay { day, shrinkage, shrinkage_mass, balance: initial - shrinkage_mass })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(initial: f64, last: f64) -> Inventory {
        Inventory { initial_balance: Some(initial), final_balance: Some(last), ..Inventory::default() }
    }

    #[test]
    fn the_known_records() {
        for (initial, last, rate) in [(1.2, 1.092, 0.09), (5.0, 4.75, 0.05)] {
            assert!((record(initial, last).shrinkage_rate().unwrap() - rate).abs() < 1e-12);
        }
        let moved = Inventory { incoming: Some(2.0), outgoing: Some(1.0), ..record(10.0, 10.0) };
        assert_eq!(moved.theoretical_balance(), Some(11.0));
        assert_eq!(moved.shrinkage_mass(), Some(1.0));
        assert_eq!(moved.shrinkage_rate(), Some(0.1));
    }

    #[test]
    fn what_is_missing_or_no_number_gives_none() {
        assert_eq!(Inventory { final_balance: None, ..record(1.0, 1.0) }.shrinkage_rate(), None);
        for initial in [0.0, -1.0, 1e-7, f64::NAN, f64::INFINITY, 1e101] {
            assert_eq!(record(initial, 1.0).shrinkage_rate(), None, "{initial}");
        }
        let model = Model { ty: ModelType::Linear, a: None, b: Some(1.0), c: None };
        assert_eq!(model.shrinkage_after(1.0), None);
        assert_eq!(Model { a: Some(1.0), ..model }.shrinkage_after(-1.0), None);
        assert_eq!(Model { a: Some(f64::NAN), ..model }.shrinkage_after(1.0), None);
    }

    #[test]
    fn the_models() {
        let at = |ty, a, b, c, days| Model { ty, a: Some(a), b: Some(b), c }.shrinkage_after(days);
        assert_eq!(at(ModelType::Linear, 0.01, 0.02, None, 3.0), Some(0.05));
        assert_eq!(at(ModelType::Polynomial, 0.25, 0.5, Some(1.0), 2.0), Some(3.0));
        let exponential = at(ModelType::Exponential, 0.1, 0.5, Some(0.001), 2.0).unwrap();
        assert!((exponential - (0.1 * (1.0 - (-1.0_f64).exp()) + 0.002)).abs() < 1e-15);
        assert_eq!(at(ModelType::Exponential, 0.1, 1e90, Some(0.0), 2.0), Some(0.1), "no underflow");
        assert_eq!(at(ModelType::Exponential, 0.1, -1e90, Some(0.0), 2.0), None, "no overflow");
    }

    #[test]
    fn a_forecast_is_of_each_day() {
        let model = Model { ty: ModelType::Linear, a: Some(0.125), b: Some(0.0), c: None };
        let days: Vec<ForecastDay> = model.forecast(8.0, 3).collect();
        assert_eq!(days[2], ForecastDay { day: 3, shrinkage: 0.375, shrinkage_mass: 3.0, balance: 5.0 });
        assert_eq!(days.len(), 3);
        assert_eq!(Model { a: None, ..model }.forecast(8.0, 3).count(), 0);
    }
}
