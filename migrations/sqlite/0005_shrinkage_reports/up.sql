-- Reports on the shrinkage tables, as views over the rows themselves: an embedded upstream is small, and its numbers are never behind.
-- The same relations as on PostgreSQL, where they are roll-ups. The formulas are not functions here, since SQLite has none of its own; the
-- library has them (tidemark_core::formulas). Values past 1e100 are left out, as there.

CREATE VIEW tidemark_reports_records AS
SELECT c.id, c.station, n.name AS product, c.calculation_date, c.storage_days, c.initial_balance, c.final_balance,
    c.initial_balance + coalesce(c.incoming, 0) - coalesce(c.outgoing, 0) AS theoretical_balance,
    c.initial_balance + coalesce(c.incoming, 0) - coalesce(c.outgoing, 0) - c.final_balance AS shrinkage_mass,
    CASE WHEN c.initial_balance BETWEEN 1e-6 AND 1e100 AND coalesce(c.incoming, 0) BETWEEN -1e100 AND 1e100
            AND coalesce(c.outgoing, 0) BETWEEN -1e100 AND 1e100 AND c.final_balance BETWEEN -1e100 AND 1e100
        THEN (c.initial_balance + coalesce(c.incoming, 0) - coalesce(c.outgoing, 0) - c.final_balance) / c.initial_balance
    END AS shrinkage_rate
FROM calculation_data AS c LEFT JOIN nomenclature AS n ON n.id = c.nomenclature_id;

CREATE VIEW tidemark_reports_products AS
SELECT n.name, count(DISTINCT n.station) AS stations, coalesce(sum(t.calculations), 0) AS calculations,
    sum(k.accuracy_sum) / nullif(sum(k.accuracies), 0) AS mean_accuracy,
    coalesce(sum(e.errors), 0) AS validation_errors,
    sum(t.rate_sum) / nullif(sum(t.rates), 0) AS mean_rate,
    min(t.first_day) AS first_day, max(t.last_day) AS last_day
FROM nomenclature AS n
LEFT JOIN (SELECT c.nomenclature_id, count(*) AS calculations, count(r.shrinkage_rate) AS rates, sum(r.shrinkage_rate) AS rate_sum,
        min(substr(c.calculation_date, 1, 10)) AS first_day, max(substr(c.calculation_date, 1, 10)) AS last_day
    FROM calculation_data AS c JOIN tidemark_reports_records AS r ON r.id = c.id GROUP BY c.nomenclature_id) AS t
    ON t.nomenclature_id = n.id
LEFT JOIN (SELECT c.nomenclature_id, count(*) AS accuracies, sum(k.accuracy_r2) AS accuracy_sum
    FROM coefficients AS k JOIN calculation_data AS c ON c.id = k.calculation_data_id
    WHERE k.accuracy_r2 BETWEEN -1e100 AND 1e100 GROUP BY c.nomenclature_id) AS k ON k.nomenclature_id = n.id
LEFT JOIN (SELECT c.nomenclature_id, count(*) AS errors
    FROM validation_errors AS e JOIN calculation_data AS c ON c.id = e.calculation_data_id
    GROUP BY c.nomenclature_id) AS e ON e.nomenclature_id = n.id
GROUP BY n.name;

CREATE VIEW tidemark_reports_models AS
SELECT m.name, min(m.model_type) AS model_type, count(k.id) AS calculations, count(DISTINCT n.name) AS products,
    avg(CASE WHEN k.accuracy_r2 BETWEEN -1e100 AND 1e100 THEN k.accuracy_r2 END) AS mean_accuracy
FROM models AS m
LEFT JOIN coefficients AS k ON k.model_id = m.id
LEFT JOIN calculation_data AS c ON c.id = k.calculation_data_id
LEFT JOIN nomenclature AS n ON n.id = c.nomenclature_id
GROUP BY m.name;

CREATE VIEW tidemark_reports_daily AS
SELECT n.name AS product, m.name AS model, substr(k.calculation_date, 1, 10) AS day, count(*) AS calculations,
    count(CASE WHEN k.accuracy_r2 BETWEEN -1e100 AND 1e100 THEN 1 END) AS accuracies,
    sum(CASE WHEN k.accuracy_r2 BETWEEN -1e100 AND 1e100 THEN k.accuracy_r2 END) AS accuracy_sum,
    count(CASE WHEN k.coefficient_a BETWEEN -1e100 AND 1e100 THEN 1 END) AS a_count,
    sum(CASE WHEN k.coefficient_a BETWEEN -1e100 AND 1e100 THEN k.coefficient_a END) AS a_sum,
    count(CASE WHEN k.coefficient_b BETWEEN -1e100 AND 1e100 THEN 1 END) AS b_count,
    sum(CASE WHEN k.coefficient_b BETWEEN -1e100 AND 1e100 THEN k.coefficient_b END) AS b_sum,
    count(CASE WHEN k.coefficient_c BETWEEN -1e100 AND 1e100 THEN 1 END) AS c_count,
    sum(CASE WHEN k.coefficient_c BETWEEN -1e100 AND 1e100 THEN k.coefficient_c END) AS c_sum
FROM coefficients AS k
JOIN calculation_data AS c ON c.id = k.calculation_data_id
JOIN nomenclature AS n ON n.id = c.nomenclature_id
LEFT JOIN models AS m ON m.id = k.model_id
GROUP BY n.name, m.name, substr(k.calculation_date, 1, 10);
