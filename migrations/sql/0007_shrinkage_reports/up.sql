-- Reports on the shrinkage tables: the formulas as functions, roll-ups by day and in total, and what brings them up to date.
-- Masses are kilograms, rates are fractions of the initial mass, days are whole days, UTC.
CREATE SCHEMA shrinkage_reports;

-- ---- Formulas ------------------------------------------------------------------------------------------------------
-- NULL where a value they need is NULL, no number, or past 1e100; nearer to zero than 1e-100 is zero: a stored row must never make a query fail.

CREATE FUNCTION shrinkage_reports.usable(x double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN x BETWEEN -1e-100 AND 1e-100 THEN 0 WHEN x BETWEEN -1e100 AND 1e100 THEN x END;

-- What should be in store: initial + incoming - outgoing. A movement that is NULL did not take place.
CREATE FUNCTION shrinkage_reports.theoretical_balance(
    initial_balance double precision, incoming double precision, outgoing double precision
) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN shrinkage_reports.usable(initial_balance)
        + shrinkage_reports.usable(coalesce(incoming, 0)) - shrinkage_reports.usable(coalesce(outgoing, 0));

-- The mass that was lost: theoretical balance - final balance.
CREATE FUNCTION shrinkage_reports.shrinkage_mass(
    initial_balance double precision, incoming double precision, outgoing double precision, final_balance double precision
) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN shrinkage_reports.theoretical_balance(initial_balance, incoming, outgoing) - shrinkage_reports.usable(final_balance);

-- The mass that was lost, as a fraction of the initial balance; NULL below a milligram.
CREATE FUNCTION shrinkage_reports.shrinkage_rate(
    initial_balance double precision, incoming double precision, outgoing double precision, final_balance double precision
) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN initial_balance >= 1e-6
        THEN shrinkage_reports.shrinkage_mass(initial_balance, incoming, outgoing, final_balance) / initial_balance END;

-- S(t), the fraction that is lost after `days`: exponential a·(1 - e^(-b·t)) + c·t, linear a·t + b, polynomial a·t² + b·t + c.
CREATE FUNCTION shrinkage_reports.shrinkage_after(
    model_type text, a double precision, b double precision, c double precision, days double precision
) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN days = 0 OR days BETWEEN 1e-100 AND 1e6 THEN CASE model_type
        WHEN 'exponential' THEN CASE
            WHEN shrinkage_reports.usable(b) * days > 700 THEN shrinkage_reports.usable(a) + shrinkage_reports.usable(c) * days
            WHEN shrinkage_reports.usable(b) * days > -100 THEN shrinkage_reports.usable(a) * (1 - exp(-b * days)) + shrinkage_reports.usable(c) * days END
        WHEN 'linear' THEN shrinkage_reports.usable(a) * days + shrinkage_reports.usable(b)
        WHEN 'polynomial' THEN (shrinkage_reports.usable(a) * days + shrinkage_reports.usable(b)) * days + shrinkage_reports.usable(c)
    END END;

-- The forecast for each of the next `days`: the fraction that is lost, its mass, and what remains.
CREATE FUNCTION shrinkage_reports.forecast(
    model_type text, a double precision, b double precision, c double precision, initial_balance double precision, days integer
) RETURNS TABLE (day integer, shrinkage double precision, shrinkage_mass double precision, balance double precision)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT t.day, s.shrinkage, s.shrinkage * i.initial, i.initial - s.shrinkage * i.initial
    FROM generate_series(1, least(days, 36500)) AS t (day)
    CROSS JOIN LATERAL (SELECT shrinkage_reports.usable(
        shrinkage_reports.shrinkage_after(model_type, a, b, c, t.day)) AS shrinkage) AS s
    CROSS JOIN (SELECT shrinkage_reports.usable(initial_balance) AS initial) AS i
    ORDER BY t.day;
END;

-- ---- Roll-ups ------------------------------------------------------------------------------------------------------
-- By the ids of product and model; -1 where a row has none, or one that is not there. Names are joined when a report is asked for, so a product
-- may be renamed at any time. Sums are over the values that can be used, and their number stands beside each.

CREATE TABLE shrinkage_reports.daily_coefficients (
    nomenclature_id bigint NOT NULL,
    model_id        bigint NOT NULL,
    day             date NOT NULL,
    calculations    bigint NOT NULL,
    accuracies      bigint NOT NULL,
    accuracy_sum    double precision,
    a_count         bigint NOT NULL,
    a_sum           double precision,
    b_count         bigint NOT NULL,
    b_sum           double precision,
    c_count         bigint NOT NULL,
    c_sum           double precision,
    -- All of the row, so that the days of a product are read from here, where they lie side by side.
    PRIMARY KEY (nomenclature_id, day, model_id)
        INCLUDE (calculations, accuracies, accuracy_sum, a_count, a_sum, b_count, b_sum, c_count, c_sum)
);
CREATE INDEX daily_coefficients_day ON shrinkage_reports.daily_coefficients (day);

-- By months, from the days: what the totals are made of, so that a day's rows do not cost a look at all days.
CREATE TABLE shrinkage_reports.monthly_coefficients (
    month           date NOT NULL,
    nomenclature_id bigint NOT NULL,
    model_id        bigint NOT NULL,
    calculations    bigint NOT NULL,
    accuracies      bigint NOT NULL,
    accuracy_sum    double precision,
    PRIMARY KEY (month, nomenclature_id, model_id)
);

CREATE TABLE shrinkage_reports.monthly_calculations (
    month           date NOT NULL,
    nomenclature_id bigint NOT NULL,
    calculations    bigint NOT NULL,
    rates           bigint NOT NULL,
    rate_sum        double precision,
    first_day       date NOT NULL,
    last_day        date NOT NULL,
    PRIMARY KEY (month, nomenclature_id)
);

CREATE TABLE shrinkage_reports.product_totals (
    nomenclature_id bigint PRIMARY KEY,
    calculations    bigint NOT NULL,
    rates           bigint NOT NULL,
    rate_sum        double precision,
    first_day       date,
    last_day        date
);

CREATE TABLE shrinkage_reports.coefficient_totals (
    nomenclature_id bigint NOT NULL,
    model_id        bigint NOT NULL,
    calculations    bigint NOT NULL,
    accuracies      bigint NOT NULL,
    accuracy_sum    double precision,
    PRIMARY KEY (nomenclature_id, model_id)
);

CREATE TABLE shrinkage_reports.error_totals (
    nomenclature_id bigint PRIMARY KEY,
    errors          bigint NOT NULL
);

-- Inventory records by day. Where TimescaleDB's licence has them, it is a continuous aggregate, refreshed by its own job and by the server. (The
-- coefficients' roll-up joins two hypertables, which a continuous aggregate cannot do.) Elsewhere it is an ordinary table.
DO $reports$
DECLARE
    is_hypertable boolean := false;
    by_timescale boolean := false;
BEGIN
    IF current_setting('timescaledb.license', true) = 'timescale'
        AND EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb')
    THEN
        EXECUTE $sql$
            SELECT EXISTS (SELECT FROM timescaledb_information.hypertables
                WHERE hypertable_schema = 'shrinkage' AND hypertable_name = 'calculation_data')
        $sql$ INTO is_hypertable;
    END IF;
    IF is_hypertable THEN
        BEGIN
            EXECUTE $sql$
                CREATE MATERIALIZED VIEW shrinkage_reports.calculations_by_day
                WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
                SELECT time_bucket(INTERVAL '1 day', calculation_date) AS bucket,
                    coalesce(nomenclature_id, -1) AS nomenclature_id,
                    count(*) AS calculations,
                    count(shrinkage_reports.shrinkage_rate(initial_balance, incoming, outgoing, final_balance)) AS rates,
                    sum(shrinkage_reports.shrinkage_rate(initial_balance, incoming, outgoing, final_balance)) AS rate_sum
                FROM shrinkage.calculation_data GROUP BY 1, 2
                WITH NO DATA
            $sql$;
            EXECUTE $sql$
                SELECT add_continuous_aggregate_policy('shrinkage_reports.calculations_by_day',
                    start_offset => NULL, end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '10 minutes')
            $sql$;
            CREATE VIEW shrinkage_reports.daily_calculations AS
                SELECT nomenclature_id, (bucket AT TIME ZONE 'UTC')::date AS day, calculations, rates, rate_sum
                FROM shrinkage_reports.calculations_by_day;
            by_timescale := true;
        EXCEPTION WHEN OTHERS THEN
            RAISE NOTICE 'no continuous aggregate here (%): the server refreshes an ordinary table', SQLERRM;
        END;
    END IF;
    IF NOT by_timescale THEN
        CREATE TABLE shrinkage_reports.daily_calculations (
            nomenclature_id bigint NOT NULL,
            day             date NOT NULL,
            calculations    bigint NOT NULL,
            rates           bigint NOT NULL,
            rate_sum        double precision,
            PRIMARY KEY (nomenclature_id, day)
        );
        CREATE INDEX daily_calculations_day ON shrinkage_reports.daily_calculations (day);
    END IF;
END
$reports$;

-- ---- What changed --------------------------------------------------------------------------------------------------
-- The days of rows that were written since the last refresh: i inserted, u updated, d deleted; day NULL where the table has none. Whoever applies
-- stations' batches notes them here, in the same transaction; the triggers at the end note what headquarters writes. '*' stands for everything.
CREATE TABLE shrinkage_reports.touched (
    id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tbl text NOT NULL,
    day date,
    op  text NOT NULL CHECK (op IN ('i', 'u', 'd'))
);
INSERT INTO shrinkage_reports.touched (tbl, op) VALUES ('*', 'u');

-- When the roll-ups were last brought up to date.
CREATE TABLE shrinkage_reports.refreshed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    at       timestamptz
);
INSERT INTO shrinkage_reports.refreshed DEFAULT VALUES;

CREATE FUNCTION shrinkage_reports.note_touched() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO'
AS $$
DECLARE
    days date[] := ARRAY[]::date[];
    code text := lower(left(TG_OP, 1));
BEGIN
    IF TG_OP <> 'INSERT' THEN
        days := days || CASE WHEN TG_ARGV[0] <> '' THEN (to_jsonb(OLD) ->> TG_ARGV[0])::timestamptz::date END;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        days := days || CASE WHEN TG_ARGV[0] <> '' THEN (to_jsonb(NEW) ->> TG_ARGV[0])::timestamptz::date END;
    END IF;
    INSERT INTO shrinkage_reports.touched (tbl, day, op)
        SELECT DISTINCT TG_ARGV[1], d.day, code FROM unnest(days) AS d (day)
        WHERE NOT EXISTS (SELECT FROM shrinkage_reports.touched t
            WHERE t.tbl = TG_ARGV[1] AND t.day IS NOT DISTINCT FROM d.day AND t.op = code
            AND t.xmin = pg_current_xact_id()::xid);
    RETURN NULL;
END
$$;

-- ---- Refresh -------------------------------------------------------------------------------------------------------

-- Days as ranges to be read in one go: days no more than a week apart are one range, and more than 20 ranges are one.
CREATE FUNCTION shrinkage_reports.ranges(days date[]) RETURNS TABLE (first date, last date)
    LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    WITH d AS (SELECT DISTINCT day FROM unnest(days) AS u (day) WHERE day IS NOT NULL),
    starts AS (SELECT day, CASE WHEN day - lag(day) OVER (ORDER BY day) <= 7 THEN 0 ELSE 1 END AS is_start FROM d),
    numbered AS (SELECT day, sum(is_start) OVER (ORDER BY day) AS island FROM starts),
    islands AS (SELECT min(day) AS first, max(day) AS last FROM numbered GROUP BY island)
    SELECT i.first, i.last FROM islands AS i WHERE (SELECT count(*) FROM islands) <= 20
    UNION ALL
    SELECT min(i.first), max(i.last) FROM islands AS i HAVING count(*) > 20;
END;

CREATE FUNCTION shrinkage_reports.refresh_calculations(first date, last date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO'
AS $$
BEGIN
    DELETE FROM shrinkage_reports.daily_calculations AS d WHERE d.day BETWEEN first AND last;
    -- The bounds are literals, so that TimescaleDB reads no chunk for nothing.
    EXECUTE format('
        INSERT INTO shrinkage_reports.daily_calculations
        SELECT coalesce(nomenclature_id, -1), calculation_date::date, count(*), count(r.rate), sum(r.rate)
        FROM shrinkage.calculation_data CROSS JOIN LATERAL (SELECT
            shrinkage_reports.shrinkage_rate(initial_balance, incoming, outgoing, final_balance) AS rate) AS r
        WHERE calculation_date >= %L::timestamptz AND calculation_date < %L::timestamptz GROUP BY 1, 2', first, last + 1);
    DELETE FROM shrinkage_reports.monthly_calculations AS m
        WHERE m.month BETWEEN date_trunc('month', first::timestamp)::date AND date_trunc('month', last::timestamp)::date;
    INSERT INTO shrinkage_reports.monthly_calculations
        SELECT date_trunc('month', d.day::timestamp)::date, d.nomenclature_id,
            sum(d.calculations), sum(d.rates), sum(d.rate_sum), min(d.day), max(d.day)
        FROM shrinkage_reports.daily_calculations AS d
        WHERE d.day >= date_trunc('month', first::timestamp)::date
            AND d.day < (date_trunc('month', last::timestamp) + INTERVAL '1 month')::date
        GROUP BY 1, 2;
END
$$;

CREATE FUNCTION shrinkage_reports.refresh_coefficients(first date, last date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO'
AS $$
BEGIN
    DELETE FROM shrinkage_reports.daily_coefficients AS d WHERE d.day BETWEEN first AND last;
    EXECUTE format('
        INSERT INTO shrinkage_reports.daily_coefficients
        SELECT coalesce(c.nomenclature_id, -1), coalesce(k.model_id, -1), k.calculation_date::date, count(*),
            count(k.accuracy), sum(k.accuracy), count(k.a), sum(k.a), count(k.b), sum(k.b), count(k.c), sum(k.c)
        FROM (SELECT calculation_data_id, model_id, calculation_date, shrinkage_reports.usable(accuracy_r2) AS accuracy,
                shrinkage_reports.usable(coefficient_a) AS a, shrinkage_reports.usable(coefficient_b) AS b,
                shrinkage_reports.usable(coefficient_c) AS c
            FROM shrinkage.coefficients WHERE calculation_date >= %L::timestamptz AND calculation_date < %L::timestamptz) AS k
        LEFT JOIN shrinkage.calculation_data AS c ON c.id = k.calculation_data_id GROUP BY 1, 2, 3', first, last + 1);
    DELETE FROM shrinkage_reports.monthly_coefficients AS m
        WHERE m.month BETWEEN date_trunc('month', first::timestamp)::date AND date_trunc('month', last::timestamp)::date;
    INSERT INTO shrinkage_reports.monthly_coefficients
        SELECT date_trunc('month', d.day::timestamp)::date, d.nomenclature_id, d.model_id,
            sum(d.calculations), sum(d.accuracies), sum(d.accuracy_sum)
        FROM shrinkage_reports.daily_coefficients AS d
        WHERE d.day >= date_trunc('month', first::timestamp)::date
            AND d.day < (date_trunc('month', last::timestamp) + INTERVAL '1 month')::date
        GROUP BY 1, 2, 3;
END
$$;

-- Brings the roll-ups up to date with what was touched, or with everything. Returns how many notes it worked off. Two that run at once take turns.
CREATE FUNCTION shrinkage_reports.refresh(everything boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO'
AS $$
DECLARE
    notes bigint;
    calculation_days date[];
    changed_days date[];
    coefficient_days date[];
    gone boolean;
    errors boolean;
    range record;
    found_days date[];
    ordinary boolean := (SELECT relkind = 'r' FROM pg_class WHERE oid = 'shrinkage_reports.daily_calculations'::regclass);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tidemark shrinkage_reports', 0));
    WITH taken AS (DELETE FROM shrinkage_reports.touched RETURNING tbl, day, op)
    SELECT count(*),
        everything OR coalesce(bool_or(tbl = '*'), false),
        array_agg(DISTINCT day) FILTER (WHERE tbl = 'calculation_data'),
        array_agg(DISTINCT day) FILTER (WHERE tbl = 'calculation_data' AND op = 'u'),
        coalesce(bool_or(tbl = 'calculation_data' AND op = 'd'), false),
        array_agg(DISTINCT day) FILTER (WHERE tbl = 'coefficients'),
        coalesce(bool_or(tbl = 'validation_errors'), false)
    INTO notes, everything, calculation_days, changed_days, gone, coefficient_days, errors FROM taken;
    IF notes = 0 AND NOT everything AND ordinary THEN
        UPDATE shrinkage_reports.refreshed SET at = clock_timestamp();
        RETURN 0;
    END IF;
    -- Coefficients may have come before their records.
    IF NOT gone AND calculation_days IS NOT NULL
        AND EXISTS (SELECT FROM shrinkage_reports.coefficient_totals WHERE nomenclature_id = -1)
    THEN
        changed_days := calculation_days;
    END IF;
    IF everything THEN
        SELECT ARRAY[min(d), max(d)] INTO calculation_days FROM
            (SELECT min(calculation_date)::date AS d FROM shrinkage.calculation_data
             UNION ALL SELECT max(calculation_date)::date FROM shrinkage.calculation_data) AS s;
        DELETE FROM shrinkage_reports.monthly_calculations;
        IF ordinary THEN
            DELETE FROM shrinkage_reports.daily_calculations;
        END IF;
    ELSE
        FOR range IN SELECT * FROM shrinkage_reports.ranges(changed_days) LOOP
            EXIT WHEN gone;
            EXECUTE format('SELECT array_agg(DISTINCT calculation_date::date) FROM shrinkage.coefficients WHERE calculation_data_id IN
                (SELECT id FROM shrinkage.calculation_data WHERE calculation_date >= %L::timestamptz AND calculation_date < %L::timestamptz)',
                range.first, range.last + 1) INTO found_days;
            coefficient_days := coefficient_days || found_days;
        END LOOP;
    END IF;
    IF everything OR gone THEN
        DELETE FROM shrinkage_reports.daily_coefficients;
        DELETE FROM shrinkage_reports.monthly_coefficients;
        SELECT ARRAY[min(calculation_date)::date, max(calculation_date)::date] INTO coefficient_days FROM shrinkage.coefficients;
    END IF;
    IF ordinary THEN
        IF everything THEN
            PERFORM shrinkage_reports.refresh_calculations(calculation_days[1], calculation_days[2]);
        ELSE
            PERFORM shrinkage_reports.refresh_calculations(r.first, r.last) FROM shrinkage_reports.ranges(calculation_days) AS r;
        END IF;
    END IF;
    IF everything OR gone THEN
        PERFORM shrinkage_reports.refresh_coefficients(coefficient_days[1], coefficient_days[2]);
    ELSE
        PERFORM shrinkage_reports.refresh_coefficients(r.first, r.last) FROM shrinkage_reports.ranges(coefficient_days) AS r;
    END IF;
    -- A continuous aggregate may be behind with days it has kept; whoever calls this refreshes it before, and the next call sees the rest.
    IF everything OR calculation_days IS NOT NULL OR NOT ordinary THEN
        DELETE FROM shrinkage_reports.product_totals;
        IF ordinary THEN
            INSERT INTO shrinkage_reports.product_totals
                SELECT nomenclature_id, sum(calculations), sum(rates), sum(rate_sum), min(first_day), max(last_day)
                FROM shrinkage_reports.monthly_calculations GROUP BY nomenclature_id;
        ELSE
            INSERT INTO shrinkage_reports.product_totals
                SELECT nomenclature_id, sum(calculations), sum(rates), sum(rate_sum), min(day), max(day)
                FROM shrinkage_reports.daily_calculations GROUP BY nomenclature_id;
        END IF;
    END IF;
    IF everything OR gone OR coefficient_days IS NOT NULL THEN
        DELETE FROM shrinkage_reports.coefficient_totals;
        INSERT INTO shrinkage_reports.coefficient_totals
            SELECT nomenclature_id, model_id, sum(calculations), sum(accuracies), sum(accuracy_sum)
            FROM shrinkage_reports.monthly_coefficients GROUP BY nomenclature_id, model_id;
    END IF;
    IF everything OR errors OR gone OR changed_days IS NOT NULL THEN
        DELETE FROM shrinkage_reports.error_totals;
        INSERT INTO shrinkage_reports.error_totals
            SELECT coalesce(c.nomenclature_id, -1), count(*) FROM shrinkage.validation_errors AS e
            LEFT JOIN shrinkage.calculation_data AS c ON c.id = e.calculation_data_id GROUP BY 1;
    END IF;
    UPDATE shrinkage_reports.refreshed SET at = clock_timestamp();
    RETURN notes;
END
$$;

-- ---- Views ---------------------------------------------------------------------------------------------------------

-- Per product name, over all stations: the number of calculations, of stations, of validation errors, mean accuracy and mean rate.
CREATE VIEW shrinkage_reports.products AS
SELECT n.name, count(DISTINCT n.station) AS stations, coalesce(sum(t.calculations), 0)::bigint AS calculations,
    sum(k.accuracy_sum) / nullif(sum(k.accuracies), 0)::double precision AS mean_accuracy,
    coalesce(sum(e.errors), 0)::bigint AS validation_errors,
    sum(t.rate_sum) / nullif(sum(t.rates), 0)::double precision AS mean_rate,
    min(t.first_day) AS first_day, max(t.last_day) AS last_day
FROM shrinkage.nomenclature AS n
LEFT JOIN shrinkage_reports.product_totals AS t ON t.nomenclature_id = n.id
LEFT JOIN (SELECT nomenclature_id, sum(accuracies) AS accuracies, sum(accuracy_sum) AS accuracy_sum
    FROM shrinkage_reports.coefficient_totals GROUP BY nomenclature_id) AS k ON k.nomenclature_id = n.id
LEFT JOIN shrinkage_reports.error_totals AS e ON e.nomenclature_id = n.id
GROUP BY n.name;

-- Per model name, over all stations: the number of calculations, of distinct product names, and mean accuracy.
CREATE VIEW shrinkage_reports.models AS
SELECT m.name, min(m.model_type) AS model_type, coalesce(sum(k.calculations), 0)::bigint AS calculations,
    count(DISTINCT n.name) AS products,
    sum(k.accuracy_sum) / nullif(sum(k.accuracies), 0)::double precision AS mean_accuracy
FROM shrinkage.models AS m
LEFT JOIN shrinkage_reports.coefficient_totals AS k ON k.model_id = m.id
LEFT JOIN shrinkage.nomenclature AS n ON n.id = k.nomenclature_id
GROUP BY m.name;

-- Per product name, model name and day: the number of calculations, and the sums behind the means of accuracy, a, b and c.
CREATE VIEW shrinkage_reports.daily AS
SELECT n.name AS product, m.name AS model, d.day, sum(d.calculations)::bigint AS calculations,
    sum(d.accuracies)::bigint AS accuracies, sum(d.accuracy_sum) AS accuracy_sum,
    sum(d.a_count)::bigint AS a_count, sum(d.a_sum) AS a_sum, sum(d.b_count)::bigint AS b_count, sum(d.b_sum) AS b_sum,
    sum(d.c_count)::bigint AS c_count, sum(d.c_sum) AS c_sum
FROM shrinkage_reports.daily_coefficients AS d
JOIN shrinkage.nomenclature AS n ON n.id = d.nomenclature_id
LEFT JOIN shrinkage.models AS m ON m.id = d.model_id
GROUP BY n.name, m.name, d.day;

-- ---- What hangs on the tables themselves ---------------------------------------------------------------------------
-- The triggers, and the view of each inventory record with what it comes to. Whoever puts another table in the place of one of these
-- (`tidemark-server optimize`) disconnects them before, and connects them again after, in one transaction.

CREATE FUNCTION shrinkage_reports.disconnect(only_table text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source text;
    event text;
BEGIN
    FOREACH source IN ARRAY ARRAY['calculation_data', 'coefficients', 'validation_errors'] LOOP
        CONTINUE WHEN source <> only_table;
        IF source = 'calculation_data' THEN
            DROP VIEW IF EXISTS shrinkage_reports.records;
        END IF;
        FOREACH event IN ARRAY ARRAY['insert', 'update', 'delete'] LOOP
            IF to_regclass('shrinkage.' || source) IS NOT NULL THEN
                EXECUTE format('DROP TRIGGER IF EXISTS %I ON shrinkage.%I', 'reports_' || event, source);
            END IF;
        END LOOP;
    END LOOP;
END
$$;

CREATE FUNCTION shrinkage_reports.connect(only_table text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source record;
BEGIN
    PERFORM shrinkage_reports.disconnect(only_table);
    FOR source IN SELECT * FROM (VALUES
        ('calculation_data', 'calculation_date'), ('coefficients', 'calculation_date'), ('validation_errors', '')) AS s (name, time)
    LOOP
        CONTINUE WHEN source.name <> only_table;
        EXECUTE format('CREATE TRIGGER reports_insert AFTER INSERT ON shrinkage.%I FOR EACH ROW
            WHEN (NEW.station = 0) EXECUTE FUNCTION shrinkage_reports.note_touched(%L, %L)', source.name, source.time, source.name);
        EXECUTE format('CREATE TRIGGER reports_update AFTER UPDATE ON shrinkage.%I FOR EACH ROW
            WHEN (NEW.station = 0 OR OLD.station = 0) EXECUTE FUNCTION shrinkage_reports.note_touched(%L, %L)', source.name, source.time, source.name);
        EXECUTE format('CREATE TRIGGER reports_delete AFTER DELETE ON shrinkage.%I FOR EACH ROW
            WHEN (OLD.station = 0) EXECUTE FUNCTION shrinkage_reports.note_touched(%L, %L)', source.name, source.time, source.name);
        CONTINUE WHEN source.name <> 'calculation_data';
        CREATE VIEW shrinkage_reports.records AS
        SELECT c.id, c.station, n.name AS product, c.calculation_date, c.storage_days, c.initial_balance, c.final_balance,
            shrinkage_reports.theoretical_balance(c.initial_balance, c.incoming, c.outgoing) AS theoretical_balance,
            shrinkage_reports.shrinkage_mass(c.initial_balance, c.incoming, c.outgoing, c.final_balance) AS shrinkage_mass,
            shrinkage_reports.shrinkage_rate(c.initial_balance, c.incoming, c.outgoing, c.final_balance) AS shrinkage_rate
        FROM shrinkage.calculation_data AS c LEFT JOIN shrinkage.nomenclature AS n ON n.id = c.nomenclature_id;
    END LOOP;
END
$$;

SELECT shrinkage_reports.connect();
