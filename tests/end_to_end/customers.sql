-- A table as a shop might have it: every common type of column, 10,000 rows, and 2 % of them dirty.
create type tier as enum ('bronze', 'silver', 'gold');
create domain town as text;

create table customers (
  id bigint primary key,
  updated_at timestamptz not null,
  email text,
  phone varchar(40),
  email_opt_in boolean,
  mobile_opt_in smallint,
  first_name varchar(40), last_name char(12), home town, level tier,
  born date, wakes time, wakes_tz time with time zone, joined timestamp, pause interval,
  visits integer, points smallint, spent numeric(12, 2), weight real, score double precision,
  balance money, active boolean, external_id uuid,
  address jsonb, raw json, tags text[], codes integer[],
  photo bytea, ip inet, net cidr, device macaddr, bits bit(3), span int4range, place point,
  words tsvector, doc xml
);

insert into customers select
  n,
  timestamptz '2026-01-01 00:00+00' + n * interval '1 second',
  case when n % 100 = 7 then 'cut-off@' else 'customer' || n || '@example.com' end,
  case
    when n % 100 = 53 then '12'
    when n % 3 > 0 then '+44 7700 9' || lpad(n::text, 5, '0')
  end,
  case n % 4 when 0 then true when 1 then false end,
  n % 2,
  'Åsa ' || n, 'Nordmann', 'Bergen', 'gold',
  date '1970-01-01' + n % 9000, '07:30', '07:30+02', timestamp '2020-02-29 12:00', '1 day 02:03',
  n, n % 100, n * 1.10, 0.1, 1e-7 * n,
  12.5, n % 2 = 0, md5(n::text)::uuid,
  jsonb_build_object('city', 'Oslo', 'n', n, 'deep', jsonb_build_array(1, null)),
  '{"b": 1, "a": [1, 2]}', array['a', 'b'], array[1, 2],
  '\xdeadbeef', '192.0.2.1', '192.0.2.0/24', '08:00:2b:01:02:03', b'101', '[1,5)', '(1,2)',
  'word', '<a>1</a>'
from generate_series(1, 10000) n;

-- Nulls wherever there may be one, and dates that no calendar of Python's knows.
update customers set
  email_opt_in = null, mobile_opt_in = null, first_name = null, last_name = null, home = null,
  level = null, born = 'infinity', wakes = null, wakes_tz = null, joined = '0044-03-15 BC',
  pause = null, visits = null, points = null, spent = null, weight = 'NaN', score = null,
  balance = null, active = null, external_id = null, address = null, raw = null, tags = null,
  codes = null, photo = null, ip = null, net = null, device = null, bits = null, span = null,
  place = null, words = null, doc = null
where id % 10 = 9;
