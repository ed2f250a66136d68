DO $reports$
BEGIN
    IF to_regclass('shrinkage_reports.calculations_by_day') IS NOT NULL THEN
        EXECUTE 'DROP MATERIALIZED VIEW shrinkage_reports.calculations_by_day CASCADE';
    END IF;
END
$reports$;
SELECT shrinkage_reports.disconnect();
DROP SCHEMA shrinkage_reports CASCADE;
