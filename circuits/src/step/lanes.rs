//! The lanes: what a transaction has in motion. Rule and circuit.
//!
//! A flow is an amount of one token that a step takes out of its cell, or mints; it is negative where the cell is
//! credited, or burns. A flow other than zero goes to the first lane that names its token, else to the first lane of
//! value zero, which from then on names it, else the step is refused. So of the lanes whose value is not zero no two
//! name one token, and what is in motion of a token is the value of the first lane that names it.

use super::{
    error::Refusal,
    registers::{LANES, Lane},
};
use crate::{
    cs::{ConstraintSystem, Variable},
    gadgets::bits::{self, Bit},
};
use taproof_verifier::cell::Token;

/// What is in motion of a token.
pub(super) fn in_motion(lanes: &[Lane; LANES], token: Token) -> i128 {
    lanes.iter().find(|lane| lane.token == token).map_or(0, |lane| lane.value)
}

/// Adds a flow.
pub(super) fn add(lanes: &mut [Lane; LANES], token: Token, flow: i128) -> Result<(), Refusal> {
    if flow == 0 {
        return Ok(());
    }
    let named = lanes.iter().position(|lane| lane.token == token);
    let free = || lanes.iter().position(|lane| lane.value == 0);
    let lane = &mut lanes[named.or_else(free).ok_or(Refusal::NoLane(token))?];
    let overflow = Refusal::Overflow { what: "what is in motion", width_bits: 127 };
    *lane = Lane { token, value: lane.value.checked_add(flow).ok_or(overflow)? };
    Ok(())
}

/// The lanes in rows.
#[derive(Clone, Debug)]
pub(crate) struct LaneWires<V> {
    /// Their tokens.
    pub(crate) tokens: [V; LANES],
    /// Their values.
    pub(crate) values: [V; LANES],
}

impl<V: Variable> LaneWires<V> {
    /// Which lane is the first that names a token, and whether none does: 11 rows.
    fn first_named<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, token: &V) -> ([Bit<V>; LANES], Bit<V>) {
        let [first, second, third] =
            core::array::from_fn(|lane| bits::is_zero(cs, &(self.tokens[lane].clone() - token.clone())));
        let second_alone = second.and(cs, &first.not());
        let neither = Bit::none_of(&[&first, &second_alone]);
        let third_alone = third.and(cs, &neither);
        let none = Bit::none_of(&[&first, &second_alone, &third_alone]);
        ([first, second_alone, third_alone], none)
    }

    /// What is in motion of a token: 14 rows.
    pub(crate) fn in_motion<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, token: &V) -> V {
        let (named, _) = self.first_named(cs, token);
        let mut sum = V::zero();
        for (value, named) in self.values.iter().zip(&named) {
            sum += cs.product(value, named.var());
        }
        sum
    }

    /// Adds a flow: 36 rows.
    pub(crate) fn add<CS: ConstraintSystem<Var = V>>(&mut self, cs: &mut CS, token: &V, flow: &V) {
        let flows = bits::is_zero(cs, flow).not();
        let (named, none_named) = self.first_named(cs, token);
        let [first, second, third] = core::array::from_fn(|lane| bits::is_zero(cs, &self.values[lane]));
        let first_free = first.and(cs, &none_named);
        let none_yet = Bit::none_of_within(&none_named, &[&first_free]);
        let second_free = second.and(cs, &none_yet);
        let none_yet = Bit::none_of_within(&none_named, &[&first_free, &second_free]);
        let third_free = third.and(cs, &none_yet);
        let free = [first_free, second_free, third_free];
        let mut found = V::zero();
        for lane in 0..LANES {
            let chosen = named[lane].var().clone() + free[lane].var().clone();
            found += chosen.clone();
            // A lane that is named already keeps its name; one that is free takes another if the flow is not zero.
            let takes = free[lane].and(cs, &flows);
            let renamed = cs.product(&(token.clone() - self.tokens[lane].clone()), takes.var());
            self.tokens[lane] += renamed;
            let added = cs.product(flow, &chosen);
            self.values[lane] += added;
        }
        bits::enforce_equal_if(cs, &flows, &found, &V::one());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Piece, assert_refused, assert_sound};
    use ark_bn254::Fr;
    use proptest::prelude::*;

    /// Looks a token up and adds a flow, with what must come of it.
    struct Flow {
        lanes: [Lane; LANES],
        token: Token,
        flow: i128,
        looked_up: i128,
        after: [Lane; LANES],
    }

    impl Piece for Flow {
        fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
            let mut wires = LaneWires {
                tokens: self.lanes.map(|lane| cs.wire(&Fr::from(lane.token.0).into())),
                values: self.lanes.map(|lane| cs.wire(&Fr::from(lane.value).into())),
            };
            let token = cs.wire(&Fr::from(self.token.0).into());
            let flow = cs.wire(&Fr::from(self.flow).into());
            let looked_up = wires.in_motion(cs, &token);
            cs.enforce_equal(&looked_up, &Fr::from(self.looked_up).into());
            wires.add(cs, &token, &flow);
            for (lane, after) in self.after.iter().enumerate() {
                cs.enforce_equal(&wires.tokens[lane], &Fr::from(after.token.0).into());
                cs.enforce_equal(&wires.values[lane], &Fr::from(after.value).into());
            }
        }
    }

    fn lane((token, value): (u32, i128)) -> Lane {
        Lane { token: Token(token), value }
    }

    fn any_lane() -> impl Strategy<Value = Lane> {
        (0u32..4, prop_oneof![Just(0), -2i128..3, any::<i64>().prop_map(i128::from)]).prop_map(lane)
    }

    proptest! {
        #[test]
        fn twins_agree(
            lanes in prop::array::uniform3(any_lane()), token in 0u32..5, flow in prop_oneof![Just(0), -3i128..4],
        ) {
            let token = Token(token);
            let mut after = lanes;
            let looked_up = in_motion(&lanes, token);
            match add(&mut after, token, flow) {
                Ok(()) => {
                    let sound = Flow { lanes, token, flow, looked_up, after };
                    prop_assert_eq!(assert_sound(&sound), 8 + 14 + 1 + 36 + 6);
                    for lane in 0..LANES {
                        let mut other = after;
                        other[lane].value += 1;
                        assert_refused(&Flow { after: other, ..sound });
                        other = after;
                        other[lane].token.0 += 1;
                        assert_refused(&Flow { after: other, ..sound });
                    }
                    assert_refused(&Flow { looked_up: looked_up + 1, ..sound });
                }
                Err(refusal) => {
                    prop_assert_eq!(refusal, Refusal::NoLane(token));
                    assert_refused(&Flow { lanes, token, flow, looked_up, after });
                }
            }
        }
    }

    #[test]
    fn a_flow_goes_to_the_first_lane_of_its_token_else_to_the_first_free_one() {
        let after = |lanes: [(u32, i128); 3], token, flow| {
            let mut lanes = lanes.map(lane);
            add(&mut lanes, Token(token), flow).map(|()| lanes.map(|lane| (lane.token.0, lane.value)))
        };
        assert_eq!(after([(0, 0); 3], 0, 5), Ok([(0, 5), (0, 0), (0, 0)]));
        assert_eq!(after([(0, 0); 3], 7, 5), Ok([(7, 5), (0, 0), (0, 0)]));
        assert_eq!(after([(0, 5), (0, 0), (0, 0)], 7, -1), Ok([(0, 5), (7, -1), (0, 0)]));
        assert_eq!(after([(0, 5), (7, 0), (7, 2)], 7, 1), Ok([(0, 5), (7, 1), (7, 2)]));
        assert_eq!(after([(1, 5), (2, 1), (3, 2)], 4, 1), Err(Refusal::NoLane(Token(4))));
        assert_eq!(after([(1, 5), (2, 1), (3, 2)], 4, 0), Ok([(1, 5), (2, 1), (3, 2)]));
        assert_eq!(after([(1, 5), (2, 1), (3, 2)], 2, -1), Ok([(1, 5), (2, 0), (3, 2)]));
        assert_eq!(in_motion(&[(1, 5), (2, 1), (2, 2)].map(lane), Token(2)), 1);
        assert_eq!(in_motion(&[(1, 5), (2, 1), (2, 2)].map(lane), Token(3)), 0);
    }
}
