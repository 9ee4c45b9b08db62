// Command expr evaluates conditions of metrics with the real expression language, for comparison.
//
// It reads one JSON object a line, {"expression", "result", "type"}, and writes one JSON object a line:
// {"value"} with the value in a form that tells Go's types apart, or {"error", "stage"}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"sort"
	"strconv"
	"time"
	_ "time/tzdata"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
)

type question struct {
	Expression string `json:"expression"`
	Result     any    `json:"result"`
	Type       string `json:"type"`
}

type answer struct {
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
	Stage string `json:"stage,omitempty"`
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 1<<20), 1<<26)
	output := json.NewEncoder(os.Stdout)
	for input.Scan() {
		var asked question
		if err := json.Unmarshal(input.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, "unreadable question:", err)
			os.Exit(2)
		}
		if err := output.Encode(judge(asked)); err != nil {
			fmt.Fprintln(os.Stderr, "cannot answer:", err)
			os.Exit(2)
		}
	}
	if err := input.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot read:", err)
		os.Exit(2)
	}
}

func judge(asked question) (found answer) {
	defer func() {
		if cause := recover(); cause != nil {
			found = answer{Error: fmt.Sprint(cause), Stage: "panic"}
		}
	}()
	result := typed(asked.Result, asked.Type)
	environment := map[string]any{
		"result":  result,
		"asInt":   asInt,
		"asFloat": asFloat,
		"isNaN":   math.IsNaN,
		"isInf":   func(number float64) bool { return math.IsInf(number, 0) },
		"isNil":   func(any) bool { return missing(result) },
		"default": func(_ any, otherwise any) any {
			if missing(result) {
				return otherwise
			}
			return result
		},
	}
	program, err := expr.Compile(asked.Expression, expr.Env(environment))
	if err != nil {
		return answer{Error: words(err), Stage: "compile"}
	}
	value, err := expr.Run(program, environment)
	if err != nil {
		return answer{Error: words(err), Stage: "run"}
	}
	return answer{Value: shown(reflect.ValueOf(value))}
}

func words(err error) string {
	if located, ok := err.(*file.Error); ok {
		return located.Message
	}
	return err.Error()
}

// typed gives the result the Go type in which a provider hands it over.
func typed(value any, kind string) any {
	items, isList := value.([]any)
	switch kind {
	case "float", "optional-float":
		if value == nil {
			return nil
		}
		return number(value)
	case "int":
		return int(value.(float64))
	case "floats":
		found := make([]float64, len(items))
		for i, item := range items {
			found[i] = number(item)
		}
		return found
	case "ints":
		found := make([]int, len(items))
		for i, item := range items {
			found[i] = int(item.(float64))
		}
		return found
	case "strings":
		found := make([]string, len(items))
		for i, item := range items {
			found[i] = item.(string)
		}
		return found
	case "maps":
		found := make([]map[string]any, len(items))
		for i, item := range items {
			found[i] = item.(map[string]any)
		}
		return found
	}
	if isList {
		return items
	}
	return value
}

func number(value any) float64 {
	switch found := value.(type) {
	case float64:
		return found
	case string:
		parsed, err := strconv.ParseFloat(found, 64)
		if err != nil {
			panic(err)
		}
		return parsed
	}
	panic(fmt.Sprintf("not a number: %v", value))
}

func missing(value any) bool {
	if value == nil {
		return true
	}
	switch reflect.TypeOf(value).Kind() {
	case reflect.Map, reflect.Slice:
		return reflect.ValueOf(value).IsNil()
	}
	return false
}

func asInt(value any) int64 {
	switch found := reflect.ValueOf(value); {
	case !found.IsValid():
	case found.Kind() == reflect.String:
		parsed, err := strconv.ParseInt(value.(string), 10, 64)
		if err != nil {
			panic(err)
		}
		return parsed
	case plain(value) && found.CanInt():
		return found.Int()
	case plain(value) && found.CanUint():
		return int64(found.Uint())
	case plain(value) && found.CanFloat():
		return int64(found.Float())
	}
	panic(fmt.Sprintf("asInt() not supported on %v %v", reflect.TypeOf(value), value))
}

func asFloat(value any) float64 {
	switch found := reflect.ValueOf(value); {
	case !found.IsValid():
	case found.Kind() == reflect.String:
		parsed, err := strconv.ParseFloat(value.(string), 64)
		if err != nil {
			panic(err)
		}
		return parsed
	case plain(value) && found.CanInt():
		return float64(found.Int())
	case plain(value) && found.CanUint():
		return float64(found.Uint())
	case plain(value) && found.CanFloat():
		return found.Float()
	}
	panic(fmt.Sprintf("asFloat() not supported on %v %v", reflect.TypeOf(value), value))
}

// plain tells Go's own types from named ones such as time.Duration.
func plain(value any) bool {
	return reflect.TypeOf(value).PkgPath() == ""
}

// shown is [type, text] of a scalar, [type, items] of a list, [type, pairs] of a map sorted by key.
func shown(value reflect.Value) []any {
	for value.Kind() == reflect.Interface {
		value = value.Elem()
	}
	if !value.IsValid() {
		return []any{"nil", ""}
	}
	kind := value.Type().String()
	switch found := value.Interface().(type) {
	case time.Time:
		return []any{kind, found.Format(time.RFC3339Nano)}
	case time.Duration:
		return []any{kind, found.String()}
	case *time.Location:
		return []any{kind, found.String()}
	case float64:
		return []any{kind, strconv.FormatFloat(found, 'g', -1, 64)}
	case []byte:
		return []any{kind, latin(found)}
	}
	switch value.Kind() {
	case reflect.Slice, reflect.Array:
		items := make([]any, value.Len())
		for i := range items {
			items[i] = shown(value.Index(i))
		}
		return []any{kind, items}
	case reflect.Map:
		pairs := make([]any, 0, value.Len())
		for _, key := range value.MapKeys() {
			pairs = append(pairs, []any{shown(key), shown(value.MapIndex(key))})
		}
		sort.Slice(pairs, func(i, j int) bool {
			return fmt.Sprint(pairs[i].([]any)[0]) < fmt.Sprint(pairs[j].([]any)[0])
		})
		return []any{kind, pairs}
	case reflect.Func:
		return []any{"func", ""}
	}
	return []any{kind, fmt.Sprint(value.Interface())}
}

// latin keeps each byte as the character of its number.
func latin(data []byte) string {
	found := make([]rune, len(data))
	for i, char := range data {
		found[i] = rune(char)
	}
	return string(found)
}
