//! The picture of the clearing: what is offered and what is wanted at each price, and the price at which the session
//! cleared.
//!
//! Demand falls and supply rises with the price, a step for each order at its limit. The pool takes the difference: at
//! a price p it sells (x - y / p) / (w f) of bitcoin, f being what its fee leaves, and buys where that is negative, as
//! p = (y + w f B) / (x + w f A) says. So demand meets supply and pool at the session's price and nowhere else. Amounts
//! are of bitcoin; those of orders that pay dollars are converted at the session's price.

use super::report::{DefiReport, OrderFigures};
use std::fmt::Write;
use taproof_circuits::exchange::FEE_UNIT;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 440.0;
/// Room for words about the curves: left, right, top, bottom.
const MARGINS: [f64; 4] = [64.0, 24.0, 28.0, 56.0];
/// Points of the pool's curve between two limits.
const POINTS: usize = 4;
/// Marks of an axis, at most.
const MARKS_MAX: f64 = 6.0;

/// Where prices and amounts lie in the picture.
struct Frame {
    prices: [f64; 2],
    most: f64,
}

impl Frame {
    fn x(&self, price: f64) -> f64 {
        let [low, high] = self.prices;
        let [left, right, ..] = MARGINS;
        left + (price - low) / (high - low) * (WIDTH - left - right)
    }

    fn y(&self, amount: f64) -> f64 {
        let [.., top, bottom] = MARGINS;
        HEIGHT - bottom - amount.clamp(0.0, self.most) / self.most * (HEIGHT - top - bottom)
    }
}

/// The orders as curves: limits in dollars a bitcoin, amounts in bitcoin.
struct Curves {
    supply: Vec<(f64, f64)>,
    demand: Vec<(f64, f64)>,
    price: f64,
    /// Reserves of the pool, in bitcoin and dollars, and the weight of orders in the price less the fee.
    pool: [f64; 2],
    weight: f64,
}

impl Curves {
    fn new(report: &DefiReport) -> Self {
        // Who would bear the price, and is left out for what he would make of it, is not part of the curves.
        let is_drawn = |order: &&OrderFigures| order.got.is_some() || order.is_beyond_limit;
        let price = report.price;
        let side = |buys: bool| {
            let of_side = report.orders.iter().filter(is_drawn).filter(move |order| order.buys_bitcoin == buys);
            let bitcoin = |order: &OrderFigures| match buys {
                true => order.pays as f64 / 1e6 / price,
                false => order.pays as f64 / 1e8,
            };
            let mut steps: Vec<(f64, f64)> = of_side.map(|order| (order.limit, bitcoin(order))).collect();
            steps.sort_by(|one, other| one.0.total_cmp(&other.0));
            steps
        };
        let [x, y] = report.reserves_before;
        let kept = f64::from(FEE_UNIT - report.pool_fee) / f64::from(FEE_UNIT);
        let weight = f64::from(report.pool_weight) * kept;
        Self { supply: side(false), demand: side(true), price, pool: [x as f64 / 1e8, y as f64 / 1e6], weight }
    }

    /// What is offered by orders at a price.
    fn supply(&self, price: f64) -> f64 {
        self.supply.iter().filter(|(limit, _)| *limit <= price).map(|(_, amount)| amount).sum()
    }

    /// What is wanted by orders at a price.
    fn demand(&self, price: f64) -> f64 {
        self.demand.iter().filter(|(limit, _)| *limit >= price).map(|(_, amount)| amount).sum()
    }

    /// What the pool sells at a price; what it buys is negative.
    fn of_pool(&self, price: f64) -> f64 {
        (self.pool[0] - self.pool[1] / price) / self.weight
    }

    fn limits(&self) -> impl Iterator<Item = f64> {
        self.supply.iter().chain(&self.demand).map(|(limit, _)| *limit)
    }

    fn frame(&self) -> Frame {
        let low = self.limits().fold(self.price, f64::min);
        let high = self.limits().fold(self.price, f64::max);
        let room = ((high - low) * 0.04).max(self.price * 1e-4);
        let prices = [low - room, high + room];
        let [lowest, highest] = prices;
        let most = self.demand(lowest).max(self.supply(highest)).max(self.supply(highest) + self.of_pool(highest));
        Frame { prices, most: most.max(f64::MIN_POSITIVE) * 1.08 }
    }

    /// Steps of amounts that change at limits.
    fn steps(&self, frame: &Frame, limits: &[(f64, f64)], amount: impl Fn(f64) -> f64, falls: bool) -> String {
        let mut path = format!("M{:.1} {:.1}", frame.x(frame.prices[0]), frame.y(amount(frame.prices[0])));
        for (limit, of_order) in limits {
            // At its own limit an order is on either side.
            let after = if falls { amount(*limit) - of_order } else { amount(*limit) };
            write!(path, "H{:.1}V{:.1}", frame.x(*limit), frame.y(after)).expect("a string takes any text");
        }
        write!(path, "H{:.1}", frame.x(frame.prices[1])).expect("a string takes any text");
        path
    }

    /// Supply and pool: steps with the pool's curve between them.
    fn with_pool(&self, frame: &Frame) -> String {
        let [low, high] = frame.prices;
        let mut ends: Vec<f64> = [low].into_iter().chain(self.supply.iter().map(|(limit, _)| *limit)).collect();
        ends.push(high);
        let mut path = String::new();
        for pair in ends.windows(2) {
            let supplied = self.supply(pair[0]);
            for point in 0..=POINTS {
                let price = pair[0] + (pair[1] - pair[0]) * point as f64 / POINTS as f64;
                let (letter, amount) = (if path.is_empty() { 'M' } else { 'L' }, supplied + self.of_pool(price));
                write!(path, "{letter}{:.1} {:.1}", frame.x(price), frame.y(amount)).expect("a string takes any text");
            }
        }
        path
    }
}

/// The picture, which takes its colours from the page about it.
pub(super) fn svg(report: &DefiReport) -> String {
    let mut picture = String::new();
    write_svg(report, &mut picture).expect("a string takes any text");
    picture
}

fn write_svg(report: &DefiReport, picture: &mut String) -> std::fmt::Result {
    let curves = Curves::new(report);
    let frame = curves.frame();
    let (price, amount) = (curves.price, curves.demand(curves.price));
    let [left, right, top, bottom] = MARGINS;
    let (floor, end) = (HEIGHT - bottom, WIDTH - right);
    writeln!(
        picture,
        "<svg class=\"clearing\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"clearing-title \
         clearing-text\">\n<title id=\"clearing-title\">The session cleared at {price:.2} dollars a bitcoin</title>\n\
         <desc id=\"clearing-text\">{}</desc>",
        in_words(report, &curves)
    )?;
    for (at, mark) in marks([0.0, frame.most]) {
        let y = frame.y(at);
        writeln!(
            picture,
            "<path class=\"grid\" d=\"M{left} {y:.1}H{end}\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
            left - 8.0,
            y + 5.0
        )?;
    }
    for (at, mark) in marks(frame.prices) {
        let x = frame.x(at);
        writeln!(
            picture,
            "<path class=\"grid\" d=\"M{x:.1} {floor}v5\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark}</text>",
            floor + 22.0
        )?;
    }
    let demand = curves.steps(&frame, &curves.demand, |price| curves.demand(price), true);
    let supply = curves.steps(&frame, &curves.supply, |price| curves.supply(price), false);
    let with_pool = curves.with_pool(&frame);
    let (x, y) = (frame.x(price), frame.y(amount));
    writeln!(
        picture,
        "<path class=\"demand\" d=\"{demand}\"/>\n<path class=\"supply\" d=\"{supply}\"/>\n\
         <path class=\"pool\" d=\"{with_pool}\"/>\n<path class=\"price\" d=\"M{x:.1} {top}V{floor}\"/>\n\
         <circle class=\"price\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>\n\
         <text class=\"price\" x=\"{:.1}\" y=\"{:.1}\">{price:.2}</text>\n\
         <text class=\"demand\" x=\"{:.1}\" y=\"{:.1}\">demand</text>\n\
         <text class=\"supply\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">supply</text>\n\
         <text class=\"pool\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">supply and pool</text>\n\
         <text x=\"{left}\" y=\"18\">bitcoin</text>\n\
         <text x=\"{end}\" y=\"{:.1}\" text-anchor=\"end\">dollars a bitcoin</text>\n</svg>",
        x + 8.0,
        floor - 10.0,
        left + 8.0,
        frame.y(curves.demand(frame.prices[0])) - 8.0,
        end - 8.0,
        frame.y(curves.supply(frame.prices[1])) + 20.0,
        end - 8.0,
        frame.y(curves.supply(frame.prices[1]) + curves.of_pool(frame.prices[1])) - 8.0,
        floor + 44.0,
    )
}

/// Round numbers in a range, 1, 2 or 5 times a power of ten apart, each with its digits.
fn marks([low, high]: [f64; 2]) -> Vec<(f64, String)> {
    let least = (high - low) / MARKS_MAX;
    let power = 10f64.powf(least.log10().floor());
    let apart = [1.0, 2.0, 5.0].map(|times| times * power).into_iter().find(|apart| *apart >= least);
    let apart = apart.unwrap_or(10.0 * power);
    let places = (-apart.log10().floor()).max(0.0) as usize;
    let numbers = (low / apart).ceil() as i64..=(high / apart).floor() as i64;
    numbers.map(|number| number as f64 * apart).map(|at| (at, format!("{at:.places$}"))).collect()
}

/// What the picture shows, for whoever does not see it.
fn in_words(report: &DefiReport, curves: &Curves) -> String {
    let (price, bitcoin) = (curves.price, curves.demand(curves.price));
    let of_pool = curves.of_pool(price);
    let does = if of_pool < 0.0 { "buys" } else { "sells" };
    format!(
        "Step chart of the orders by limit price. Demand for bitcoin falls and supply rises with the price. {} of {} \
         orders are in. At {price:.2} dollars a bitcoin {bitcoin:.4} bitcoin are wanted and {:.4} offered; the pool \
         {does} the other {:.4}.",
        report.orders_in,
        report.traders,
        curves.supply(price),
        of_pool.abs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers_within_the_range() {
        let texts = |range| marks(range).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts([0.0, 0.86]), ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(texts([40_348.0, 43_551.0]), ["41000", "42000", "43000"]);
        assert_eq!(texts([0.0, 0.06]), ["0.00", "0.01", "0.02", "0.03", "0.04", "0.05", "0.06"]);
        assert_eq!(texts([9.0, 20.0]), ["10", "12", "14", "16", "18", "20"]);
    }
}
