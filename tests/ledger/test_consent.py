"""Consent: what was never said is not sent, and what was said once is not raised again."""

from tests.histories import histories, play
from tests.ledger.outside import Night


@histories("""
a listed address never goes out with a yes: there is another one
  set unchanged_opt_in=[send|omit]; listed p1@example.com; 1 p1 yes; 1 new [yes|+1 yes];
  again ? unraised p1
nor if it is lost
  set unchanged_opt_in=[send|omit]; listed p1@example.com; 1 p1 +1 yes; 1 +1 yes;
  again ? unraised p1
nor if a number came
  set unchanged_opt_in=[send|omit]; listed p1@example.com; 1 p1 yes; 1 p1 +1 yes;
  again ? unraised p1
nor one that its person had before, in any later night
  set [omit|single|report]; listed a@example.com; 1 a; 1 b yes; again; 1 c yes =C > c C
nor does a listed number, after any change of its person
  listed +4790000001; 1 p1 +1 yes sms; 1 [p1 +2|p1|new +1] yes sms; again ? unraised +1
nothing signs up again who unsubscribed in MainBrainer: an old yes is no new one after any event
  set omit; 1-3 p# yes; unsubscribe p1 p2;
  [set report; 1-2 p# yes =A !fail:batch
  |set report; 1-2 p# yes =A !skip=1:batch
  |set report confirm_timeout_seconds=0; 1-2 p# yes =A !stuck:batch; 1-2 p# yes =B !stuck:batch
  |1-2 p# yes =A !lost@1:batch
  |set impatient; 1-2 p# yes =A !lost:batch
  |1 p1 yes, 2 p2 yes contact_id:1000002; again
  |set full; 2-3 p# yes; again; 1-3 p# yes
  |set everything; 1-2 p# yes; set unchanged_contacts=skip
  |1 p1 id=C1 yes, 2 p2 id=C2 yes
  |1-2 p# yes =A !kill POST 1 after];
  1-3 p# yes =Z; again ? yes p3 > p1-2 no Z, p3 yes Z
nor do other data from a second stream, without consent
  set omit; 1-3 p# yes; unsubscribe p1 p2; 1-2 p# yes, others:1 p1 city=A;
  1-2 p# yes, others:1 p1 city=B; 1-3 p# yes =Z; again > p1 no Z city=B, p2 no Z, p3 yes Z
nor a changed mapping
  set omit; 1-3 p# yes; unsubscribe p1 p2; set renamed; 1-2 p# yes; set field_map={};
  1-3 p# yes =Z; again > p1-2 no Z name=First#, p3 yes Z
a yes that arrived by a detour is not raised again: a lost answer, or a batch open at the end
  set omit report confirm_timeout_seconds=0;
  1-2 p# yes ![lost@1:batch|cut@1:batch|503@1:batch|late=0.3:batch]; settle ? yes p1 p2;
  unsubscribe p1; 1-2 p# yes =A ? yes p2; 1-2 p# yes =B ? yes p2; 1-2 p# yes =C ? yes p2
a recreated contact has the source's yes; it was deleted by hand, as the status of an update says
  set confirm_batches=[report|require]; 0-7 p# yes; delete p1; 0-7 p# yes =A ? 1 recreated
  > p0-7 yes A
and the others of its batch, which unsubscribed in MainBrainer, are looked at, too
  set omit confirm_batches=[report|require]; 0-7 p# yes; delete p1; unsubscribe p2 p3 p4;
  0-7 p# yes =A ? 1 recreated > p0-1 yes A, p2-4 no A, p5-7 yes A
a recreated contact is completed though its status is late: when another one has been completed
  set report single; 1-2 p# yes; delete p1; delete p2; says after p1; 1-2 p# yes city=Bergen
  > p1-2 yes # city=Bergen
but a status without ids recreates no contact: who is not in one half need not be in the other half
  set omit report; 1-3 p# yes; delete p1; unsubscribe p2 p3; says search nameless:1; 1-3 p# yes =A
  ? 1 recreated, yes
it has what a later record of the run says, of another stream; if unconfirmed, whole; year 95136
  set confirm_batches=[report|require]; 1 p1 yes city=Oslo, 2 p2 yes; delete p1;
  1 p1 yes =A city=Oslo, users:1 p1 no =B city=Oslo, 2 p2 yes ? 1 recreated
  > p1 no B city=Oslo, p2 yes 2
what was said of a contact is known when it is sent again, of another stream; year 97086
  set omit require; 1 a; 1 a yes, users:1 a =A email_opt_in:null; unsubscribe a; 1 a yes =B > a no B
also a no and then a yes
  set omit require; 1 a yes; 1 a no, users:1 a =A yes; 1 a yes =B > a yes B
and a yes and then a no
  set omit require; 1 a yes; 1 a yes, users:1 a =A no; 1 a no =B > a no B
a recreated contact that moves in the same run is completed at its new address; year 99168
  set report; 1-3 p# yes; delete p1; 1-3 p# yes city=Oslo, 1 new1 yes ? 1 moved, 1 recreated
  > new1 yes 1 city=Oslo, p2-3 yes # city=Oslo
a no that was lost with its batch is said again, though a listed yes or none came meanwhile
  set report; 1-2 p# yes; listed p1@example.com; [1 p1 no !fail:batch|1 p1 no !skip=1:batch
  |set confirm_timeout_seconds=0; 1 p1 no !stuck:batch; set confirm_timeout_seconds=60]; days 2;
  1 p1 [yes|email_opt_in:null] ? yes p1 p2; 1 p1 no ? yes p2
an opt-in that turns null is counted and warned of: MainBrainer keeps the old value
  1-2 p# yes; 1 p1 email_opt_in:null, 2 p2 yes ? 1 opt_ins_emptied, warns opt-in, yes p1 p2
the yes of a reused key is not passed on in silence: the new record says nothing of consent
  1 old +1 yes, 2 p2 yes; 1 new +2 =Other email_opt_in:null, 2 p2 yes ? 1 opt_ins_emptied,
  warns opt-in, yes new p2
""")
def test_no_yes_is_made_up_or_raised_again(night: Night, story: str) -> None:
    """Neither on the suppression list nor after an unsubscription in MainBrainer."""
    play(night, story)
