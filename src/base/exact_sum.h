/* Sums of doubles that do not depend on the order of their terms, nor on who added which: each
 * term is cut into whole multiples of fixed units, and sums of those are exact (a superaccumulator
 * of few digits; Kulisch 2013 and Demmel and Nguyen 2015 have general ones). */
#ifndef COHORT_BASE_EXACT_SUM_H
#define COHORT_BASE_EXACT_SUM_H

/* Doubles of such a sum; it starts with zeros, and two are one when their doubles are added. */
enum { COHORT_EXACT_DIGITS = 5 };

/* Adds VALUE, without what is below 2^-92. Exact for 2^29 terms of magnitude below 2^27; terms of
 * 2^40 and more are rounded as in any sum, and one that is not finite is seen in the total. */
void cohort_exact_add(double *digits, double value);
double cohort_exact_total(const double *digits);

#endif
