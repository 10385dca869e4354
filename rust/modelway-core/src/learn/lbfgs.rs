//! L-BFGS: the lowest point of a function of many numbers, from its values and gradients (Nocedal 1980), with
//! backtracking until a step descends enough (Armijo 1966).

use std::collections::VecDeque;

/// Pairs that the curvature is estimated from.
const MEMORY: usize = 8;
/// Of a step that does not descend.
const HALVINGS: u32 = 20;
/// The share of the expected descent that a step must reach.
const ARMIJO: f64 = 1e-4;
/// Sums of an inner product that run side by side; their number is part of the result.
const LANES: usize = 16;

/// How the point moved, and how the gradient changed with it.
struct Pair {
    moved: Vec<f32>,
    bent: Vec<f32>,
    /// 1 / (bent . moved).
    share: f64,
}

/// Goes `steps` steps down from `point`; the first has length 1. `objective` writes the gradient at a point and
/// returns the value. `after` is told the point after each step; there are fewer steps where no descent is left.
pub(super) fn minimise(
    mut point: Vec<f32>,
    steps: usize,
    mut objective: impl FnMut(&[f32], &mut [f32]) -> f64,
    mut after: impl FnMut(&[f32]),
) -> Vec<f32> {
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let mut gradient = vec![0.0; point.len()];
    let (mut following, mut new_gradient) = (gradient.clone(), gradient.clone());
    let mut value = objective(&point, &mut gradient);
    for _ in 0..steps {
        let direction = direction(&gradient, &pairs);
        let slope = -dot(&gradient, &direction);
        let mut step = 1.0_f32;
        let mut reached = None;
        for _ in 0..HALVINGS {
            for ((to, from), way) in following.iter_mut().zip(&point).zip(&direction) {
                *to = from - step * way;
            }
            let there = objective(&following, &mut new_gradient);
            if there <= value + ARMIJO * f64::from(step) * slope {
                reached = Some(there);
                break;
            }
            step /= 2.0;
        }
        // None: no descent is left within the precision.
        let Some(there) = reached else { break };
        value = there;
        remember(&mut pairs, difference(&following, &point), difference(&new_gradient, &gradient));
        std::mem::swap(&mut point, &mut following);
        std::mem::swap(&mut gradient, &mut new_gradient);
        after(&point);
    }
    point
}

fn remember(pairs: &mut VecDeque<Pair>, moved: Vec<f32>, bent: Vec<f32>) {
    let along = dot(&bent, &moved);
    // Else the estimate of the curvature would lose its sign.
    if along > 1e-12 * dot(&bent, &bent) {
        if pairs.len() == MEMORY {
            pairs.pop_front();
        }
        pairs.push_back(Pair { moved, bent, share: 1.0 / along });
    }
}

/// The gradient times the estimated inverse of the curvature (the two-loop recursion).
fn direction(gradient: &[f32], pairs: &VecDeque<Pair>) -> Vec<f32> {
    let Some(latest) = pairs.back() else {
        let length = dot(gradient, gradient).sqrt().max(1e-12);
        return gradient.iter().map(|one| (f64::from(*one) / length) as f32).collect();
    };
    let mut direction = gradient.to_vec();
    let mut shares = [0.0; MEMORY];
    for (share, pair) in shares.iter_mut().zip(pairs).rev() {
        *share = pair.share * dot(&pair.moved, &direction);
        add(&mut direction, -*share, &pair.bent);
    }
    let scale = (1.0 / (latest.share * dot(&latest.bent, &latest.bent))) as f32;
    for one in &mut direction {
        *one *= scale;
    }
    for (share, pair) in shares.iter().zip(pairs) {
        let back = pair.share * dot(&pair.bent, &direction);
        add(&mut direction, share - back, &pair.moved);
    }
    direction
}

fn add(to: &mut [f32], times: f64, what: &[f32]) {
    let times = times as f32;
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

fn difference(left: &[f32], right: &[f32]) -> Vec<f32> {
    left.iter().zip(right).map(|(left, right)| left - right).collect()
}

/// The inner product, summed in `LANES` sums.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f64 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0_f64; LANES];
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += f64::from(left[lane]) * f64::from(right[lane]);
        }
    }
    let rest = left_rest.iter().zip(right_rest).map(|(left, right)| f64::from(*left) * f64::from(*right));
    sums.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::minimise;

    fn bowl(point: &[f32], gradient: &mut [f32]) -> f64 {
        let mut value = 0.0;
        for (place, (at, steep)) in point.iter().zip([1.0, 10.0, 100.0]).enumerate() {
            let away = f64::from(*at) - [3.0, -2.0, 0.5][place];
            value += steep * away * away;
            gradient[place] = (2.0 * steep * away) as f32;
        }
        value
    }

    #[test]
    fn the_lowest_point_is_found() {
        let found = minimise(vec![0.0; 3], 60, bowl, |_| {});
        for (found, wanted) in found.iter().zip([3.0, -2.0, 0.5]) {
            assert!((found - wanted).abs() < 1e-3, "{found} for {wanted}");
        }
    }

    #[test]
    fn no_step_goes_up() {
        let mut values = vec![f64::MAX];
        let mut unused = [0.0; 3];
        minimise(vec![50.0, -70.0, 9.0], 5, bowl, |point| values.push(bowl(point, &mut unused)));
        assert_eq!(values.len(), 6);
        assert!(values.is_sorted_by(|before, after| before > after), "{values:?}");
    }
}
