//! The words of reports, in each language: everything that stands on a page, in a table or at the head of a CSV file.
//! JSON has none: its keys are for programs, and stay.

use std::fmt;
use std::str::FromStr;

use super::question::{DAYS_MAX, Noun, ReportError, TOP_MAX, Unknown};
use super::trend::Trend;

/// A language that reports are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Russian.
    Ru,
}

impl FromStr for Lang {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "en" => Ok(Self::En),
            "ru" => Ok(Self::Ru),
            _ => Err(format!("reports are not written in {word:?}: use en or ru")),
        }
    }
}

/// The heading of a column: for people, whose cells have their units; and for CSV, whose cells are numbers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heading {
    /// In a table and on a page.
    pub shown: &'static str,
    /// In CSV.
    pub csv: &'static str,
}

const fn heading(shown: &'static str, csv: &'static str) -> Heading {
    Heading { shown, csv }
}

/// The words of one language.
#[derive(Debug)]
pub struct Words {
    /// Its tag, as HTML and HTTP write it (BCP 47).
    pub tag: &'static str,
    /// The character before decimals.
    pub decimal: char,
    /// The unit of masses.
    pub kg: &'static str,
    /// Over each product's row: product, stations, calculations, mean accuracy, validation errors, mean rate, mean
    /// loss, loss, first day, last day.
    pub product_head: [Heading; 10],
    /// Over each model's row: model, type, calculations, products, mean accuracy.
    pub model_head: [Heading; 5],
    /// Over each day's row: day, model, calculations, accuracy, a, b, c.
    pub trend_head: [Heading; 7],
    /// The page of products.
    pub products: &'static str,
    /// The page of models.
    pub models: &'static str,
    /// A model that is not there any more.
    pub no_model: &'static str,
    /// Beside figures and over charts.
    pub calculations: &'static str,
    /// Beside a figure.
    pub validation_errors: &'static str,
    /// Beside a figure.
    pub best_model: &'static str,
    /// Beside the word for the trend.
    pub accuracy: &'static str,
    /// Over a chart.
    pub accuracy_r2: &'static str,
    /// Over a chart and beside a figure.
    pub mean_accuracy_r2: &'static str,
    /// Over a chart of per cents.
    pub mean_rate: &'static str,
    /// Over a chart of kilograms.
    pub loss: &'static str,
    /// Before the letter of a coefficient.
    pub coefficient: &'static str,
    /// Before the letter of a coefficient, of its mean.
    pub mean: &'static str,
}

const EN: Words = Words {
    tag: "en",
    decimal: '.',
    kg: "kg",
    product_head: [
        heading("product", "product"),
        heading("stations", "stations"),
        heading("calculations", "calculations"),
        heading("mean accuracy", "mean_accuracy"),
        heading("validation errors", "validation_errors"),
        heading("mean rate", "mean_rate_percent"),
        heading("mean loss", "mean_loss_kg"),
        heading("loss", "loss_kg"),
        heading("first day", "first_day"),
        heading("last day", "last_day"),
    ],
    model_head: [
        heading("model", "model"),
        heading("type", "type"),
        heading("calculations", "calculations"),
        heading("products", "products"),
        heading("mean accuracy", "mean_accuracy"),
    ],
    trend_head: [
        heading("day", "day"),
        heading("model", "model"),
        heading("calculations", "calculations"),
        heading("accuracy", "accuracy"),
        heading("a", "a"),
        heading("b", "b"),
        heading("c", "c"),
    ],
    products: "Products",
    models: "Models",
    no_model: "no model",
    calculations: "Calculations",
    validation_errors: "Validation errors",
    best_model: "Best model",
    accuracy: "Accuracy",
    accuracy_r2: "Accuracy, R²",
    mean_accuracy_r2: "Mean accuracy, R²",
    mean_rate: "Mean shrinkage rate, % of the initial mass",
    loss: "Shrinkage in all, kg",
    coefficient: "Coefficient",
    mean: "Mean",
};

const RU: Words = Words {
    tag: "ru",
    decimal: ',',
    kg: "кг",
    product_head: [
        heading("продукт", "продукт"),
        heading("станций", "станций"),
        heading("расчётов", "расчётов"),
        heading("средняя точность", "средняя_точность"),
        heading("ошибок проверки", "ошибок_проверки"),
        heading("средний процент усушки", "средний_процент_усушки"),
        heading("средняя усушка", "средняя_усушка_кг"),
        heading("усушка всего", "усушка_всего_кг"),
        heading("первый день", "первый_день"),
        heading("последний день", "последний_день"),
    ],
    model_head: [
        heading("модель", "модель"),
        heading("вид", "вид"),
        heading("расчётов", "расчётов"),
        heading("продуктов", "продуктов"),
        heading("средняя точность", "средняя_точность"),
    ],
    trend_head: [
        heading("день", "день"),
        heading("модель", "модель"),
        heading("расчётов", "расчётов"),
        heading("точность", "точность"),
        heading("a", "a"),
        heading("b", "b"),
        heading("c", "c"),
    ],
    products: "Продукты",
    models: "Модели",
    no_model: "без модели",
    calculations: "Расчёты",
    validation_errors: "Ошибки проверки",
    best_model: "Лучшая модель",
    accuracy: "Точность",
    accuracy_r2: "Точность, R²",
    mean_accuracy_r2: "Средняя точность, R²",
    mean_rate: "Средний процент усушки от начальной массы",
    loss: "Усушка всего, кг",
    coefficient: "Коэффициент",
    mean: "Среднее",
};

impl Lang {
    /// Its words.
    #[must_use]
    pub const fn words(self) -> &'static Words {
        match self {
            Self::En => &EN,
            Self::Ru => &RU,
        }
    }

    /// The page of the products with most calculations.
    #[must_use]
    pub fn top(self, count: usize) -> String {
        match self {
            Self::En => format!("Top {count} {}", if count == 1 { "product" } else { "products" }),
            Self::Ru => {
                format!("Первые {count} {} по числу расчётов", plural(count, ["продукт", "продукта", "продуктов"]))
            }
        }
    }

    /// Below a table of models.
    #[must_use]
    pub fn best_model(self, model: &str) -> String {
        match self {
            Self::En => format!("best model: {model}"),
            Self::Ru => format!("лучшая модель: {model}"),
        }
    }

    /// The time a page is of, as `YYYY-MM-DD hh:mm:ss`.
    #[must_use]
    pub fn as_of(self, time: &str) -> String {
        match self {
            Self::En => format!("as of {time} UTC"),
            Self::Ru => format!("по состоянию на {time} UTC"),
        }
    }

    /// Rows have come since the roll-ups were brought up to date at `time`; `None` when they never were.
    #[must_use]
    pub fn behind(self, time: Option<&str>) -> String {
        match (self, time) {
            (Self::En, Some(time)) => format!("rows that came after {time} UTC are not in it yet"),
            (Self::Ru, Some(time)) => format!("строки, пришедшие после {time} UTC, ещё не учтены"),
            (Self::En, None) => {
                "the roll-ups were never refreshed: start the server, or leave --no-refresh out".to_owned()
            }
            (Self::Ru, None) => "итоги ещё ни разу не подсчитаны: запустите сервер или уберите --no-refresh".to_owned(),
        }
    }

    /// The subject of a trend.
    #[must_use]
    pub fn trend_of(self, product: &str, since: &str, until: &str) -> String {
        match self {
            Self::En => format!("{product} from {since} to {until}"),
            Self::Ru => format!("{product} с {since} по {until}"),
        }
    }

    /// There is nothing in a trend's days; the product's data is elsewhere, from the first day to the last, or nowhere.
    #[must_use]
    pub fn empty(self, since: &str, until: &str, elsewhere: Option<(&str, &str)>) -> String {
        match (self, elsewhere) {
            (Self::En, Some((first, last))) => {
                format!("no data from {since} to {until}; the last is of {last}, the first of {first}")
            }
            (Self::Ru, Some((first, last))) => {
                format!("с {since} по {until} данных нет; последние — за {last}, первые — за {first}")
            }
            (Self::En, None) => format!("no data from {since} to {until}, nor of any other day"),
            (Self::Ru, None) => format!("данных нет ни с {since} по {until}, ни за другие дни"),
        }
    }

    /// The note that there are no kilograms: see `LOSSES` of the PostgreSQL upstream.
    #[must_use]
    pub const fn no_masses(self) -> &'static str {
        match self {
            Self::En => "kilograms are left out: there are more than 1,000,000 calculations",
            Self::Ru => "килограммы не подсчитаны: расчётов больше 1 000 000",
        }
    }

    /// The means of a trend, each as it is shown.
    #[must_use]
    pub fn means(self, [calculations, accuracy, a, b, c]: &[String; 5]) -> String {
        match self {
            Self::En => format!("means of {calculations} calculations: accuracy {accuracy}, a {a}, b {b}, c {c}"),
            Self::Ru => format!("средние по расчётам ({calculations}): точность {accuracy}, a {a}, b {b}, c {c}"),
        }
    }

    /// The direction in which accuracy goes, and by how much a day.
    #[must_use]
    pub fn goes(self, trend: Trend, slope_per_day: Option<&str>) -> String {
        let word = self.trend(trend);
        match (self, slope_per_day) {
            (Self::En, Some(slope)) => format!("accuracy is {word}, {slope} of accuracy per day"),
            (Self::En, None) => format!("accuracy is {word}"),
            (Self::Ru, Some(slope)) => format!("точность {word}: {slope} в день"),
            (Self::Ru, None) => format!("точность {word}"),
        }
    }

    /// The word for where accuracy goes.
    #[must_use]
    pub const fn trend(self, trend: Trend) -> &'static str {
        match (self, trend) {
            (Self::En, _) => trend.as_str(),
            (Self::Ru, Trend::Improving) => "растёт",
            (Self::Ru, Trend::Deteriorating) => "падает",
            (Self::Ru, Trend::Stable) => "не меняется",
            (Self::Ru, Trend::Unknown) => "неизвестна",
        }
    }

    /// A model's form.
    #[must_use]
    pub fn model_type(self, model_type: &str) -> &str {
        match (self, model_type) {
            (Self::Ru, "exponential") => "экспоненциальная",
            (Self::Ru, "linear") => "линейная",
            (Self::Ru, "polynomial") => "полиномиальная",
            _ => model_type,
        }
    }

    /// The words of an error, with what to do.
    #[must_use]
    pub fn error(self, error: &ReportError) -> String {
        match (self, error) {
            (Self::En, ReportError::Days(days)) => format!("the number of days is 1 to {DAYS_MAX}, not {days}"),
            (Self::Ru, ReportError::Days(days)) => format!("число дней — от 1 до {DAYS_MAX}, а не {days}"),
            (Self::En, ReportError::Count(count)) => format!("the number of products is 1 to {TOP_MAX}, not {count}"),
            (Self::Ru, ReportError::Count(count)) => format!("число продуктов — от 1 до {TOP_MAX}, а не {count}"),
            (Self::En, ReportError::Day(day)) => format!("{day:?} is no day: write YYYY-MM-DD"),
            (Self::Ru, ReportError::Day(day)) => format!("{day:?} — не день: пишите ГГГГ-ММ-ДД"),
            (_, ReportError::Unknown(unknown)) => self.unknown(unknown),
            (Self::En, ReportError::OtherSchema) => {
                "reports are about the shipped shrinkage schema, and this database holds another one".to_owned()
            }
            (Self::Ru, ReportError::OtherSchema) => {
                "отчёты строятся по схеме shrinkage из поставки, а в этой базе другая".to_owned()
            }
            (_, ReportError::Store(error)) => error.to_string(),
        }
    }

    fn unknown(self, Unknown { what, wanted, same, near, more }: &Unknown) -> String {
        let quoted = |names: &[String]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let (same_names, near_names) = (quoted(same), quoted(near));
        let there_is_none = match (self, what) {
            (Self::En, Noun::Product) => "there is no product",
            (Self::En, Noun::Model) => "there is no model",
            (Self::Ru, Noun::Product) => "нет продукта",
            (Self::Ru, Noun::Model) => "нет модели",
        };
        let but = match (self, same.is_empty(), near.is_empty(), more) {
            (Self::En, false, ..) => format!(" to the letter, but: {same_names}; write it so"),
            (Self::Ru, false, ..) => format!(" буква в букву, но есть: {same_names}; напишите так"),
            (_, true, true, _) => String::new(),
            (Self::En, true, false, 0) => format!("; there are: {near_names}"),
            (Self::Ru, true, false, 0) => format!("; есть: {near_names}"),
            (Self::En, true, false, more) => format!("; there are: {near_names} and {more} more"),
            (Self::Ru, true, false, more) => format!("; есть: {near_names} и ещё {more}"),
        };
        format!("{there_is_none} {wanted:?}{but}")
    }

    /// A number's text with this language's decimals.
    #[must_use]
    pub fn number(self, text: String) -> String {
        match self.words().decimal {
            '.' => text,
            decimal => text.replace('.', decimal.encode_utf8(&mut [0; 4])),
        }
    }
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Lang::En.error(self))
    }
}

impl std::error::Error for ReportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => error.source(),
            _ => None,
        }
    }
}

/// Russian: 1 день, 2 дня, 5 дней.
const fn plural(count: usize, [one, few, many]: [&'static str; 3]) -> &'static str {
    match (count % 10, count % 100) {
        (_, 11..=14) => many,
        (1, _) => one,
        (2..=4, _) => few,
        _ => many,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn russian_counts_as_russians_do() {
        let of = |count| plural(count, ["продукт", "продукта", "продуктов"]);
        assert_eq!(
            [1, 2, 5, 11, 21, 112, 124].map(of).join(" "),
            "продукт продукта продуктов продуктов продукт продуктов продукта"
        );
    }

    #[test]
    fn a_csv_head_needs_no_quotes_and_names_each_column_once() {
        for words in [&EN, &RU] {
            for head in [&words.product_head[..], &words.model_head, &words.trend_head] {
                let names: std::collections::BTreeSet<_> = head.iter().map(|heading| heading.csv).collect();
                assert_eq!(names.len(), head.len());
                assert!(names.iter().all(|name| name.chars().all(|c| c.is_alphabetic() || c == '_')), "{names:?}");
            }
        }
    }
}
