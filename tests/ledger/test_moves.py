"""One person stays one contact: what the CRM holds after each history of a changed identity."""

from tests.histories import histories, play
from tests.ledger.outside import Night


@histories("""
a new address leaves one contact *
  1 a yes; 1 b yes =New ? 1 read, 1 accepted, 1 moved, bookmark 1 > b yes New; again ? 1 unchanged
if both parts change, one comes, one is lost, or only case differs *
  1 [a +1; 1 b +1 ? 1 moved > b +1 1|a +1; 1 a +2 ? 1 moved > a +2 1|a +1; 1 b +2 ? 1 moved > b +2 1
  |a; 1 a +1 ? 1 moved > a +1 1|+1; 1 a +1 ? 1 moved > a +1 1|a; 1 +1 ? 1 moved > a +1 1
  |a +1; 1 +2 ? 1 moved > a +2 1|a +1; 1 A +1 ? 1 moved > A +1 1]; again ? 1 unchanged
in one load: a new person moves, one moves back without a part, and one several times *
  [none; 1 a, 2 x, 1 b ? 2 created > b 1, x 2|1 a +1; 1 b +2, 1 a > a +1 1
  |1 a; 1 b, 1 a > a 1|1 a; 1 b, 1 c ? 1 moved > c 1|1 a; 1 b, 1 c, 1 a > a 1
  |1 a; 1 b, 1 c, 1 b ? 1 moved > b 1]; again ? 0 accepted
a chain resolves in any order *
  0 d, 1 c; 2 d, 0 c, 1 e ? 2 moved > c 0, d 2, e 1; again ? 3 unchanged
twins move together, also if one has lost a part *
  [1 a, 2 a; 1 b, 2 b ? 2 moved > b 2|1 +1, 2 +1; 1 a +1, 2 a ? 2 moved > a +1 2]; again ? 0 batches
twins spelt in two ways have two contacts, and one is named *
  1 a, 2 A; 1 b, 2 b ? 1 not_followed, names 2 > A no 2, b 2; again ? 0 batches
who leaves an identity that another keeps has a contact of their own *
  1 a, 2 a; 1 b, 2 a ? 1 not_followed, names 1 > a 2, b 1; again ? 0 batches
a lost part stays in the CRM and needs no further request *
  1 a +1; 1 a =B ? 1 accepted, 1 updates, 1 old_parts_kept, 1 batches > a +1 B; again ? 1 unchanged
a no on the way is delivered
  1 a yes; 1 b no, 1 c > c no 1
a yes after a no is raised
  set omit; 1 a yes; 1 a no; 1 a yes > a yes 1
a lost answer is not taken for unchanged
  set impatient; 1 a =A; 1 a =B !lost:batch; 1 a =A > a A
a refused first delivery is corrected in the same run
  1 bad, 1 good, 2 x > good 1, x 2
who was refused follows to the next: the contact is where it was
  1 a, 2 x; 1 bad =New, 2 x =New; 1 good, 2 x ? 1 moved > good 1, x 2
in two records, which are one contact, and then alone
  1 a, 2 x; 1 bad, 1 bad =New, 2 x =New; 1 good, 2 x ? 1 moved > good 1, x 2
for its case only, as some refuse it; year 80303
  1 BAD, 2 x; 1 bad =New, 2 x =New; 1 good, 2 x ? 1 moved > good 1, x 2
and after a lost answer, so that it is not known that the address is bad; year 88064
  set impatient; 1 a, 2 x; 1 bad, 2 x !reset@3:batch; days 2; 1 bad, 2 x =B; 1 good > good 1, x B
a first delivery that may have been applied is followed, days later, too; year 6054
  set impatient; 1 a !lost@1:batch ? fails; days 2; 1 a !422@1-9:batch ? fails; 1 b ? 1 moved > b 1
and the same day, though the lost request was that for a second contact
  1 a, 2 x; 1 bad, 2 x =New !lost@4:batch; 1 good, 2 x =New ? 1 moved > good 1, x New
a contact that moves is not sent once more to prove a refusal: it would be a second one
  1 a; 1 b, 9 bad ? 1 rejected > b 1
nor one that has moved
  set single; 1 a yes; 1 a yes =New, 1 b no, 9 bad ? 1 rejected > b no 1
a second contact does not get the number of the first one; year 7
  set hasty [report|require]; 1 a +1; 1 b !503:status; set patient; 1 c ? 1 moved > a +1 1, c 1
an address that a failed change did not reach is free; year 80233
  set report; 1 a; 1 b !fail@2:batch; 1 a; 1 b ? 1 moved > b 1
an address is free when its contact has left it, else its record would leave, too; year 9124
  set report; 1 a, 2 x; 1 b, 2 a !fail@2:batch; 1 b, 2 a ? 2 moved > a 2, b 1
also for who is new
  set report; 1 a; 1 b, 2 a !fail@2:batch; 1 b, 2 a ? 1 moved > a 2, b 1
who cannot be brought back after an interrupted change is sent as new; year 86003
  1 a; 1 b !kill GET 2 before; 1 a !422@1-99:batch; 1 a > a 1
who stays where an interrupted change began is sent as new: the contact may have gone with the other
  1 a, 2 a; 1 b, 2 b !kill GET 2 before; 1 b, 2 a; 1 b, 2 a; 1 c, 2 a ? 1 moved > a 2, c 1
an address that a contact has left again, before its run knew, is free; year 83041
  1 a yes; 1 b yes !kill GET 2 before; 1 a yes; 1 b yes ? 1 moved > b yes 1
who is deleted between kill and rename is recreated, with the yes
  set omit; 1 a yes; 1 b yes !kill POST 2 before; delete a; 1 b yes ? 0 moved > b yes 1
also if a number was lost meanwhile, which the contact that is recreated has; year 1027
  1 a +1 yes; 1 b +1 yes !kill POST 2 before; delete a; 1 b yes ? 0 moved > b +1 yes 1
who is back after a kill keeps what was added, as the CRM may have it, and has it
  1 +1; 1 a +1 !kill POST 2 [before|after]; 1 +1; 1 +1 =Later > a +1 Later
records whose key is blank are different people, and none is followed
  1 id= a yes, 2 id:"\\t" b no > a yes 1, b no 2; 1 id= c ? there a b c
a key of more than fifty people is none, and the run ends before they are one contact
  1-60 p# id=0 ? fails are unique, there p1
a contact that another comes to is not opted out
  1 a yes, 2 b yes; 1 b yes, 2 b yes; 1 b yes, 2 c yes; 1 a yes, 2 b > a yes 1, b yes 2, c no 2
nor if its own person stays with it, as a change goes back that was to give it a number; year 1017
  1 a yes, 9 a +1; set create; 1 a yes, 9 z; set identity_changes=follow;
  1 b +1 yes, 9 z !kill POST 2 before; 1 a yes, 9 z > a yes 1, a +1 9, z 9
nor without its number; year 96126
  set report; 1 a +1 yes, 2 a +1 yes, 3 b yes; 1 b yes, 2 a +1 yes, 3 a +1 yes > a +1 yes 3, b yes 1
nor if its person is gone: a yes after it would be a new one; year 71026
  set opt_out omit; 1 a yes, 2 b yes; 2 b yes; unsubscribe a; 2 a yes ? 0 opted_out > a no 2, b no 2
who is back at a contact that an opt-out has recreated is sent whole
  set report; 1 a, 2 b; delete a; 1 b, 2 b; 1 a, 2 b > a no 1, b 2
and so is who was gone
  set opt_out report; 1 a, 2 b, 3 c; delete c; 1 a, 2 b; 1 a, 2 b; 1 a, 2 b, 3 c > a 1, b 2, c no 3
who is gone and comes back is known
  set full drift; 1 a, 2 b; 1 a; 1 a; 1 a; 1 a, 2 b ? 2 unchanged > a 1, b 2
who is gone and was always refused is not created to be opted out
  set opt_out; 1 a yes, 2 bad yes; switch refuse_email=; 1 a yes; 1 a yes; 1 a yes > a yes 1
who is gone after a kill is opted out under both addresses
  set opt_out create; 1 a yes, 2 x; 1 b yes, 2 x !kill POST 1 after; 2 x; 2 x > a no 1, b no 1, x 2
and under both spellings, of which each may be a contact
  set opt_out; 1 K yes, 2 k yes, 3-4 p# yes; 3-4 p# yes; again ? 2 opted_out > K no 1, k no 2,
  p3-4 yes #
an opt-out that was not confirmed is tried again
  set opt_out report; 1 a yes, 2 b yes; 1 a yes; 1 a yes !fail:batch ? warns of opt-outs has failed;
  1 a yes > a yes 1, b no 2
of two customers merged at the source one contact is written to, and the other is opted out
  set opt_out; 1 a yes, 2 b yes; 2 a yes =M; 2 a yes =M; 2 a yes =M > a yes M, b no 2
and a no reaches the first
  set opt_out; 1 a yes, 2 b yes; 2 a yes =M; 2 a yes =M; 2 a no > a no 2, b no 2
a contact that has moved is not recreated where it was; year 87063
  set report; 1 a, 2 b; delete b; 1 a =A, 2 b =A, 1 c =A ? 1 moved, 1 recreated > b A, c A
an opt-out that recreates a contact leaves the yes that comes after it; year 95231
  set report deleted; 1 a yes, 2 b yes; delete a; 1 deleted, 2 a yes ? 1 recreated > a yes 2, b no 2
a yes after a deletion is no new one: the person is there under another key
  set omit deleted; 1 a yes, 2 b yes; unsubscribe a; 1 deleted, 3 a yes, 2 b yes > a no 3, b yes 2
who has another contact and is deleted in one run has no consent; year 130101
  set create deleted; 1 a yes, 2 b yes; 1 c yes, 1 deleted > a yes 1, b yes 2, c no 1
a deletion opts no person out whom another row has, in any order, until that is deleted, too
  set deleted; 1-2 a yes, 3 b yes; [2 a deleted|1 a, 2 a deleted|2 a deleted, 1 a|2 a, 2 a deleted,
  1 a]; again ? 0 accepted, yes a b; [1 a|2 a, 2 a deleted, 1 a, 1 a] deleted ? no a, yes b
nor if the other row is refused
  set deleted; switch refuse_property=firstname; switch refuse_value=Bad; 1 a yes, 2 a yes;
  3 b, [1 a deleted, 2 a =Bad|1 a, 1 a deleted, 2 a =Bad|1 a =Bad, 1 a deleted, 2 a] ? yes a
an opt-out that is refused keeps no other person from following
  set opt_out; 1 a, 2 b yes; switch refuse_email=b; 1 a; 1 c ? fails not be opted out, 1 moved
  > c 1, b yes 2
a deletion of an unknown person creates no contact: it would be billed
  set deleted; 1 a yes; 9 deleted, 8 b yes deleted > a yes 1
a contact of which nothing was delivered is new, and no correction by hand is looked for; year 60135
  set report; 1 a, 2 b !fail@1:batch; 1 a, 2 c ? 2 created, 2 inserted > a 1, c 2
an opt-in that the search resets is given again with the new address
  switch opt_in_on_update=reset; 1 a yes; 1 b yes > b yes 1
an unsubscription survives a new address
  set omit; 1 a yes; unsubscribe a; 1 a yes =B; 1 b yes; set everything; 1 b yes > b no 1
and a year in which the source says nothing
  set omit; 1 a yes; unsubscribe a; 1 a =A; days 365; 1 a yes =A > a no A
a refused contact is sent again until it is accepted
  1 a, 2 bad; 1 a, 2 bad ? fails; 1 a, 2 c ? 1 unchanged, 1 created > a 1, c 2
contacts with a number alone are known apart, and so are those who share an address
  1 +1, 2 +2, 3 a +1, 4 a; 1 +1, 2 +2, 3 a +1, 4 a ? 4 unchanged > +1 1, +2 2, a +1 3, a 4
a withheld yes, which was never said, is sent once the list is empty, also if only once
  set unchanged_opt_in=[send|omit]; listed a@example.com; 1 a yes, 2 b; again; listed; again
  > a yes 1, b 2
a yes that was said is not raised when its address leaves the list, after an unsubscription
  set omit; 1 a yes; listed a@example.com; 1 a yes =A; unsubscribe a; listed; 1 a yes =B > a no B
who was deleted by hand and moves is recreated; the contact that the search makes gets no yes
  set omit; 1 a yes; delete a; 1 b yes; 1 c yes; 1 d yes > a None, d yes 1
whose address was corrected by hand has two contacts, also if every yes is sent
  set report unchanged_opt_in=[send|omit]; 1 a yes; edit a email=h@example.com; 1 a yes =N
  ? 1 recreated > a yes N, h yes 1; again > a yes N, h yes 1
and if it changes at the source, too
  set report omit; 1 a yes; edit a email=h@example.com; 1 b yes > a None, b yes 1, h yes 1
an unsubscription is respected though a batch is late
  set report omit; 1 a yes; unsubscribe a; 1 b yes !late=0.05:batch; 1 b yes > b no 1
a search that fails afterwards leaves one contact behind
  set report; 1 a yes, 2 x; 1 b yes, 2 x !fail@1:batch; 1 b yes, 2 x > a yes 1, b yes 1, x 2
and a rename that fails is made again
  set report; 1 a yes, 2 x; 1 b yes, 2 x !fail@2:batch; 1 b yes, 2 x > b yes 1, x 2
people who swap are set aside, and a no of theirs is delivered, but neither a yes nor a name
  1 a yes, 2 b no, 3 c; 1 b no, 2 a yes, 3 d ? 2 rejected > a no 1, b no 2, d 3
an address that a contact still has is given to no other, or a no would reach one of them
  1 a yes, 2 b yes, 3 c yes; 1 b yes; 1 a yes, 3 a yes; 1 a no, 3 a no > a no 3, b yes 1, c no 3
a search that is accepted proves no refusal: a property, which it has not, may be at fault
  1 a; 1 bad ? fails Nothing was accepted, bookmark 0
a rename that was accepted does, even if its batch fails; year 2054
  set report; 1 a; 1 b, 2 bad !fail@3:batch ? ok, 2 rejected, kept 2, bookmark 2 > a 1
an address that a second contact has replaced is free once that one is confirmed; year 16454071
  set require; 1 a, 2 x; 1 b, 2 a !noid:batch; 1 b, 2 a; 1 b, 2 c ? 1 moved > b 1, c 2, x no 2
without a status it is a second contact with a warning
  1 a; set hasty; 1 b ![noid:batch|stuck@1:batch|503:status] ? 1 not_followed, names 1,
  says could not be followed, there a b; again ? 1 unchanged
an identity that the CRM holds is taken over
  switch clash=conflict; 1 a, 9 b; forget --key 9; 1 b =New ? 1 created, 1 not_followed, names 1,
  met 409 > a 1, b New; again ? 1 unchanged
a remapped column fails before the first request
  10-39 p# mobile=+47900000#; 10-39 p# mobile=+47910000# ? fails 'max_drift_percent' (5), 0 batches,
  reason max_drift_percent, bookmark 0
a dry run reads on and counts them
  0-299 p#; set dry_run=true; 0-299 new#, 300 p300 ? fails 'max_drift_percent' (5), 301 read,
  1 accepted, 300 undelivered, says 300 not sent, says A run would fail.
moves that an earlier run has begun are no drift, or every later night of a small stream would fail
  0-11 p#; set drift; 0-11 q# !fail@13:batch ? 0 moved; set max_drift_percent=5; again ? 12 moved,
  there q0-11
a move takes a request and a share of another
  0-19 p#; set drift; 0-19 q# ? 20 moved, 21 batches
a kill at any moment of a move makes no second contact: then the person is at the new address
  set omit; 1 a yes; 1 b yes !kill [POST 1 before|GET 1 before|GET 1 after|POST 2 after|
  POST 2 answered]; 1 b yes > b yes 1
or back at the first one
  set omit; 1 a yes; 1 b yes !kill [POST 1 answered|GET 1 after|POST 2 before|POST 2 after|
  STATE 1 answered]; 1 a no > a no 1
or at a third one
  set omit; 1 a yes; 1 b yes !kill [POST 1 after|GET 1 answered|POST 2 after|STATE 1 answered];
  1 c no > c no 1
a kill is no reason to send everything
  set full batch_size_rows=5; 1-40 p#; 1 p1 =New, 2-40 p# !kill POST 1 before; 1 p1 =New, 2-40 p#
  ? 39 unchanged, 1 batches
a second contact is named before it is made: the run may be killed at once
  1 a yes; delete a; 1 b yes !kill POST 2 after ? says Sent as new, says (id=1), there a b
""")
def test_what_the_crm_holds_after_nights(night: Night, story: str) -> None:
    """One person stays one contact, after any of these."""
    play(night, story)
